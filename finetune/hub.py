"""The Hugging Face hub: pinned files of a repository, from the cache first.

Owns every contact with the hub. Downloads named files only, runs nothing of them, and says in one line why something can't
be had.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from finetune.errors import UnavailableError

# The library's own default of 10 s per request, retried, keeps a user without network waiting for a minute.
_SECONDS_TO_ANSWER = "5"


def fetch_hub_files(
    repository: str, revision: str | None, patterns: Sequence[str], *, kind: Literal["model", "dataset"] = "model"
) -> Path:
    """Return the local folder holding the files of a hub repository that match `patterns`.

    Raises:
        UnavailableError: not in the cache, and the hub is out of reach, lacks it, or refuses access.
    """
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _SECONDS_TO_ANSWER)
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "30")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

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
        if all(any(folder.glob(pattern)) for pattern in patterns if "*" not in pattern):
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        return fetch(from_cache_only=False)
    except OfflineModeIsEnabled:
        reason = "it is not in the hub's cache, and HF_HUB_OFFLINE forbids asking the hub"
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        reason = {
            401: "the hub knows no such repository, or it needs a token (set HF_TOKEN)",
            403: "the hub refuses access; accept its terms there, or set HF_TOKEN",
            404: "the hub has no such repository or revision",
        }.get(status, f"the hub answered {status}")
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = f"it is not in the hub's cache, and the hub can't be reached ({type(error).__name__})"
    raise UnavailableError(f"{kind} {repository}{f' at {revision[:8]}' if revision else ''}: {reason}.")
