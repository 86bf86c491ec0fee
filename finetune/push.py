"""A finished run handed to the Hugging Face hub: its model with its card, and its reports.

Owns which files leave this machine, and every write to the hub. What is read from the hub is `hub`, what the card says is `model_card`; who
is asked before anything becomes public is decided by `cli_share`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, TypeVar

from finetune.checkpoint import HUB_PATTERNS
from finetune.errors import (
    DataError,
    FinetuneError,
    MissingInputError,
    OutputError,
    PermissionDeniedError,
    UnavailableError,
    UsageError,
)
from finetune.hub import SECONDS_TO_ANSWER
from finetune.model_card import render_model_card
from finetune.records import Report
from finetune.render import list_pictures
from finetune.run_dir import RunDir, read_report, read_status, refuse_changed_model

Visibility = Literal["public", "private", "absent"]
T = TypeVar("T")
MESSAGE = "Push a run of finetune"
# How huggingface_hub begins what it passes on from the hub.
_REMARKS, _REFUSAL = "Warnings while validating metadata in README.md:", "Invalid metadata in README.md."


@dataclass(frozen=True)
class Parcel:
    """What is to be pushed.

    Attributes:
        files: {path in the repository: file on this machine, or its content}.
        has_report: whether the reports are among them, which hold texts of test rows.
        collapsed_to: the label that the model gives every row, where it predicts one class only.
    """

    repository: str
    report: Report
    files: dict[str, Path | bytes]
    has_report: bool
    collapsed_to: str | None


@dataclass(frozen=True)
class Pushed:
    """Where the files now lie, and what the hub remarked."""

    address: str
    remarks: list[str]


def pack_run(path: Path, repository: str, *, with_report: bool) -> Parcel:
    """Return what of the run in `path` goes to the repository `owner/name`: named kinds of files only, nothing else that lies there.

    A card that somebody has edited goes as it is; the program's own is written anew, so that its examples name the repository.

    Raises:
        UsageError: no name that a repository can have.
        MissingInputError: no such run, one that isn't complete, or one without a model.
        DataError: a record or the model was changed since the run was complete.
    """
    _check_name(repository)
    run_dir = RunDir(path)
    report = read_report(run_dir)
    status = read_status(run_dir)
    if status is not None and status.state != "complete":
        raise MissingInputError(f"{path}: the run is not complete but {status.state}: {status.message}")
    if not run_dir.model.is_dir():
        raise MissingInputError(f"{path}: no {run_dir.model.name}/ in this run, so there is nothing to push")
    refuse_changed_model(run_dir)
    kept = (*HUB_PATTERNS, run_dir.decision.name)
    files: dict[str, Path | bytes] = {
        file.name: file
        for file in sorted(run_dir.model.iterdir())
        if file.is_file() and any(fnmatch(file.name, pattern) for pattern in kept)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise MissingInputError(f"{run_dir.model}: no weights (*.safetensors) in this folder")
    files[run_dir.model_card.name] = _read_card(report, run_dir, repository)
    if with_report:
        reports = [run_dir.report, run_dir.report_html, run_dir.report_markdown]
        reports += [run_dir.picture(name) for name in list_pictures(report)]
        files |= {file.name: file for file in reports if file.is_file()}
    saved = next((seed for seed in report.seeds if seed.seed == report.saved_seed), None)
    return Parcel(repository, report, files, with_report, saved.collapsed_to if saved else None)


def _read_card(report: Report, run_dir: RunDir, repository: str) -> bytes:
    """Return the card of the run as somebody edited it, else one that names the repository."""
    if run_dir.model_card.is_file():
        found = run_dir.model_card.read_bytes()
        if found != render_model_card(report).encode():
            return found
    return render_model_card(report, repository).encode()


class Hub:
    """The hub, as the owner of this machine's token sees it.

    Raises:
        UnavailableError: no token, or HF_HUB_OFFLINE forbids asking the hub.
    """

    def __init__(self) -> None:
        from huggingface_hub import HfApi, constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise UnavailableError("nothing was pushed: HF_HUB_OFFLINE forbids asking the hub")
        token = get_token()
        if not token:
            raise UnavailableError("no token of the hub is known here: hf auth login keeps one, or set HF_TOKEN")
        self._token = token
        self._api = HfApi(token=token)

    def find_visibility(self, repository: str, *, is_public: bool) -> Visibility:
        """Return whether a repository is there, and who sees it.

        Raises:
            OutputError: everybody sees it, and `is_public` is not asked for.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        def ask() -> Visibility:
            try:
                info = self._api.model_info(repository, timeout=SECONDS_TO_ANSWER)
            except RepositoryNotFoundError as error:
                # Whom the hub doesn't know it answers the same, with another status.
                if error.response.status_code == 404:
                    return "absent"
                raise
            # Whatever isn't said to be private is taken for public.
            return "private" if info.private is True else "public"

        found = self._call(repository, ask)
        if found == "public" and not is_public:
            raise OutputError(
                f"{repository}: this repository is public, so everybody would see what is pushed; add --public if that is meant"
            )
        return found

    def push(self, parcel: Parcel, visibility: Visibility, *, is_public: bool) -> Pushed:
        """Write all files of a parcel in one commit; create the repository where it is absent, private unless `is_public`."""
        from huggingface_hub import CommitOperationAdd

        def write() -> str:
            if visibility == "absent":
                self._api.create_repo(parcel.repository, private=not is_public)
            additions = [CommitOperationAdd(name, content) for name, content in parcel.files.items()]
            self._api.create_commit(parcel.repository, additions, commit_message=MESSAGE)
            return f"{self._api.endpoint}/{parcel.repository}"

        # The hub's remarks on the card come as warnings of Python, among those of the library itself.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            address = self._call(parcel.repository, write)
        heads = [str(warning.message).partition(_REMARKS) for warning in caught]
        return Pushed(address, [self._on_one_line(remarks) for _, head, remarks in heads if head])

    def _call(self, repository: str, call: Callable[[], T]) -> T:
        """Return what a call to the hub returns, or raise its failure as one line."""
        from huggingface_hub.errors import HfHubHTTPError, HTTPError

        try:
            return call()
        except HfHubHTTPError as error:
            raise self._describe(repository, error.response.status_code, error.server_message or "") from None
        except (HTTPError, OSError, ValueError) as error:
            # The hub reads the card before it takes a file.
            if (said := str(error)).startswith(_REFUSAL):
                reason = self._on_one_line(said.removeprefix(_REFUSAL))
                raise DataError(f"{repository}: the hub refuses the card: {reason}") from None
            raise UnavailableError(
                f"{repository}: the hub can't be reached, no file was pushed ({type(error).__name__})"
            ) from None

    def _describe(self, repository: str, status: int, message: str) -> FinetuneError:
        said = f" ({self._on_one_line(message)})" if message.strip() else ""
        if status == 401:
            return PermissionDeniedError(f"{repository}: the hub doesn't know the token; hf auth login keeps a new one")
        if status == 403:
            return PermissionDeniedError(f"{repository}: the token may not do that{said}")
        if status == 409:
            return OutputError(f"{repository}: it was changed on the hub meanwhile; look there, then push again{said}")
        return UnavailableError(f"{repository}: the hub answered {status}, no file was pushed{said}")

    def _on_one_line(self, text: str) -> str:
        """Return what the hub says, cut short and without the token, which it might repeat."""
        return " ".join(text.replace(self._token, "…").split())[:300]


def _check_name(repository: str) -> None:
    """Refuse what can't be the name of a repository, the owner being named too."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(f"REPOSITORY: {' '.join(str(error).split())}") from None
    if repository.count("/") != 1:
        raise UsageError(f"REPOSITORY: found '{repository}', expected is owner/name")
