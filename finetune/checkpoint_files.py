"""Checkpoints on disk: folders that are whole or not there.

Owns how such a folder is written, verified, chosen and removed: its files, each flushed to the disk, then a manifest of their sizes and
hashes, then its name. Knows nothing of what the files hold; that is `training_state`. When it is done is `checkpoint_writer`. Imports no
torch.
"""

import os
import re
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from finetune.errors import DataError, FinetuneError, StorageError, first_line
from finetune.machine import installed_versions
from finetune.manifests import FileEntry, describe_file, find_difference, flush, is_plain_file
from finetune.record_files import write_record
from finetune.records import Record

MANIFEST = "manifest.json"
# A manifest names a handful of files; what is larger is none.
MANIFEST_BYTES = 2**20
_NAME = re.compile(r"checkpoint-(\d{1,12})")
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class Manifest(Record):
    """What a whole checkpoint consists of; it is written last."""

    step: Annotated[int, Field(ge=0)]
    needs: list[int]
    """Steps of other checkpoints without which this one is of no use."""
    versions: dict[str, str]
    files: Annotated[dict[FileName, FileEntry], Field(min_length=1)]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies, or will lie."""
    return folder / f"checkpoint-{step}"


def fill_checkpoint(folder: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Have `fill` write files into a new folder, and return it; `seal_checkpoint` makes it a checkpoint.

    Raises:
        StorageError: the disk is full or failed; what was there before still is.
    """
    beside = folder / f".checkpoint-{step}.{os.getpid()}"
    with _gone_on_failure(beside, checkpoint_path(folder, step)):
        _remove_leftovers(folder)
        beside.mkdir(parents=True)
        fill(beside)
    return beside


def seal_checkpoint(beside: Path, step: int, needs: Sequence[int] = ()) -> None:
    """Make a folder of files, which lies beside the others, the checkpoint of `step`: flushed, hashed, whole.

    Raises:
        StorageError: the disk is full or failed; what was there before still is.
    """
    folder = beside.parent
    target = checkpoint_path(folder, step)
    with _gone_on_failure(beside, target):
        files = {path.name: describe_file(path) for path in sorted(beside.iterdir())}
        manifest = Manifest(step=step, needs=list(needs), versions=installed_versions(), files=files)
        write_record(beside / MANIFEST, manifest)
        flush(beside)
        # Only one that was passed over, being incomplete, can stand there.
        _remove(target)
        beside.rename(target)
        flush(folder)


@contextmanager
def _gone_on_failure(beside: Path, target: Path) -> Generator[None]:
    """Take `beside` away where the block fails, and say that what was to become `target` could not be written."""
    try:
        yield
    except FinetuneError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    # safetensors, written in Rust, has an error of its own for a full disk, a child of Exception alone.
    except Exception as error:
        shutil.rmtree(beside, ignore_errors=True)
        if not isinstance(error, OSError) and "os error" not in str(error):
            raise
        free = shutil.disk_usage(target.parent).free // 2**20 if target.parent.is_dir() else 0
        raise StorageError(
            f"{target}: can't be written ({first_line(error)}; {free} MB free); earlier checkpoints are whole"
        ) from None


def verify_checkpoint(path: Path) -> Manifest:
    """Return the manifest of a checkpoint after comparing every file with it.

    Raises:
        DataError: with the reason why it is no whole checkpoint.
    """
    manifest = read_manifest(path)
    for name, entry in manifest.files.items():
        difference = find_difference(path / name, entry)
        if difference is not None:
            raise DataError(difference)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a checkpoint, whose files are not looked at.

    Raises:
        DataError: there is none, or it doesn't say what a manifest says.
    """
    file = path / MANIFEST
    if path.is_symlink() or not is_plain_file(file):
        raise DataError("no manifest: it was not written to its end")
    try:
        with file.open("rb") as stream:
            text = stream.read(MANIFEST_BYTES + 1)
        if len(text) > MANIFEST_BYTES:
            raise DataError("the manifest is damaged: too long")
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"the manifest is damaged: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise DataError(f"the manifest can't be read ({error.strerror})") from None
    if checkpoint_path(path.parent, manifest.step) != path:
        raise DataError(f"the manifest speaks of step {manifest.step}")
    return manifest


def find_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint of a folder, or None, and a line about each that had to be passed over."""
    passed_over = []
    for step, path in reversed(_list_checkpoints(folder)):
        try:
            for needed in verify_checkpoint(path).needs:
                _verify_needed(folder, needed)
        except DataError as error:
            passed_over.append(f"ignored {checkpoint_path(folder, step).name}: {error}")
            continue
        return path, passed_over
    return None, passed_over


def _verify_needed(folder: Path, step: int) -> None:
    path = checkpoint_path(folder, step)
    try:
        verify_checkpoint(path)
    except DataError as error:
        raise DataError(f"it needs {path.name}, of which {error}") from None


def keep_checkpoints(folder: Path, newest: int, count: int) -> None:
    """Remove all checkpoints but the last `count` up to step `newest`, and those that they need."""
    whole = {}
    for step, path in _list_checkpoints(folder):
        try:
            whole[step] = read_manifest(path).needs
        except DataError:
            continue
    kept = sorted(step for step in whole if step <= newest)[-count:]
    kept += [needed for step in kept for needed in whole[step]]
    for step, path in _list_checkpoints(folder):
        # Steps beyond the newest are of a course that training has left: it went on from an earlier one.
        if step not in kept:
            _remove(path)


def _list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, path) of whatever is named like a checkpoint, in the order of steps."""
    if not folder.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in found if match)


def _remove(path: Path) -> None:
    """Take a checkpoint away: first its name, so that no half of one is ever seen."""
    if not os.path.lexists(path):
        return
    doomed = path.with_name(f".{path.name}.removed.{os.getpid()}")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    _remove_now(doomed)


def _remove_leftovers(folder: Path) -> None:
    """Take away what killed processes left of writing and removing; a run folder has one writer, so nobody else is at it."""
    for path in folder.glob(".checkpoint-*") if folder.is_dir() else ():
        _remove_now(path)


def _remove_now(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
