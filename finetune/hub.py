"""The Hugging Face hub: pinned files of a repository, from the cache first.

Owns every contact with the hub. Downloads named files only, runs nothing of them, and says in one line why something can't
be had.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from finetune.errors import UnavailableError

# For each address of the hub, of which there are several.
SECONDS_TO_ANSWER = 3.0
# Files of a model that can stand for each other: one of each row has to be there.
_MODEL_FILES = (
    ("config.json",),
    ("model.safetensors", "model-*.safetensors"),
    ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model"),
)


def fetch_hub_files(
    repository: str, revision: str | None, patterns: Sequence[str], *, kind: Literal["model", "dataset"] = "model"
) -> Path:
    """Return the local folder holding the files of a hub repository that match `patterns`.

    Raises:
        UnavailableError: not in the cache, and the hub is out of reach, lacks it, or refuses access.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    def fetch(*, from_cache_only: bool) -> Path:
        return Path(
            snapshot_download(
                repository,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=from_cache_only,
            )
        )

    try:
        folder = fetch(from_cache_only=True)
        if not _list_missing(folder, patterns, kind):
            return folder
    except (LocalEntryNotFoundError, ValueError):
        pass
    try:
        # Asked first, because a download is tried six times, over half a minute, before it is given up.
        HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=SECONDS_TO_ANSWER)
        folder = fetch(from_cache_only=False)
        missing = _list_missing(folder, patterns, kind)
        # Of a model, whoever loads it can say better what it lacks.
        if kind == "model" or not missing:
            return folder
        reason = f"the hub's repository lacks {', '.join(missing)}"
    except OfflineModeIsEnabled:
        reason = "it is not, or not whole, in the hub's cache, and HF_HUB_OFFLINE forbids asking the hub"
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        reason = {
            401: "the hub knows no such repository, or it needs a token (set HF_TOKEN)",
            403: "the hub refuses access; accept its terms there, or set HF_TOKEN",
            404: "the hub has no such repository or revision",
        }.get(status, f"the hub answered {status}")
    except (HTTPError, OSError, ValueError) as error:
        reason = f"it is not, or not whole, in the hub's cache, and the hub can't be reached ({type(error).__name__})"
    raise UnavailableError(f"{kind} {repository}{f' at {revision[:8]}' if revision else ''}: {reason}.")


def _list_missing(folder: Path, patterns: Sequence[str], kind: Literal["model", "dataset"]) -> list[str]:
    """Return which files that are needed are not in a folder of the cache, where a broken link counts for nothing."""
    needed = _MODEL_FILES if kind == "model" else tuple((pattern,) for pattern in patterns)
    return [names[0] for names in needed if not any(path.is_file() for name in names for path in folder.glob(name))]
