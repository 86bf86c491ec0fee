"""Files held against what was written: their sizes and SHA-256.

Owns how a file is described and compared, and the manifest of a complete run. That of a checkpoint is `checkpoint_files`. Imports no torch.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from finetune.errors import DataError
from finetune.record_files import read_record, write_record
from finetune.records import Record

NameInRun = Annotated[str, Field(pattern=r"^((model|seed-[0-9]+)/)?[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=300)]


class FileEntry(Record):
    """What is known of one file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RunManifest(Record):
    """What a complete run consists of, by the place of each file in its folder."""

    files: Annotated[dict[NameInRun, FileEntry], Field(min_length=1)]


def describe_file(path: Path) -> FileEntry:
    """Flush a file to the disk and return its size and hash."""
    flush(path)
    return FileEntry(bytes=path.stat().st_size, sha256=_hash(path))


def find_difference(path: Path, entry: FileEntry) -> str | None:
    """Return in which way a file isn't the one that was described, or None where it is."""
    if not is_plain_file(path):
        return f"{path.name} is missing" if not os.path.lexists(path) else f"{path.name} is no plain file"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"{path.name} has {size} bytes, {entry.bytes} were written"
    if _hash(path) != entry.sha256:
        return f"{path.name} is not what was written (SHA-256 differs)"
    return None


def write_run_manifest(manifest: Path, files: Sequence[Path]) -> None:
    """Describe the files of a run, which lie beside the manifest or one folder further down."""
    entries = {path.relative_to(manifest.parent).as_posix(): describe_file(path) for path in files}
    write_record(manifest, RunManifest(files=entries))


def refuse_changed_files(manifest: Path, files: Sequence[Path]) -> None:
    """Refuse those of a run's files that are not what it wrote; what no manifest speaks of is taken as it is.

    Raises:
        DataError: one has been changed since, or the manifest is damaged.
    """
    if not os.path.lexists(manifest):
        return
    entries = read_record(RunManifest, manifest).files
    for path in files:
        entry = entries.get(path.relative_to(manifest.parent).as_posix())
        difference = find_difference(path, entry) if entry is not None else None
        if difference is not None:
            raise DataError(
                f"{path}: changed since the run was complete: {difference}; put it back, "
                f"or remove {manifest.name} to have it read as it is"
            )


def flush(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_plain_file(path: Path) -> bool:
    """Say whether a path is a file itself: opening a pipe would wait, and a link may lead anywhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
