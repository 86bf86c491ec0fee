"""The life of a run folder: chosen, created, locked, given back, linked as the latest.

Owns who may write into it. What lies inside is `run_dir`.
"""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from finetune.errors import (
    DataError,
    MissingInputError,
    OutputError,
    PermissionDeniedError,
    RecipeError,
    UnavailableError,
)
from finetune.machine import is_gone
from finetune.run_dir import RunDir, read_status
from finetune.text_files import show

# Of digits of a process id.
LONGEST_NUMBER = 20
# Exit codes of a run that was asked for wrongly: its folder holds nothing that anybody wants to keep.
_REFUSALS = frozenset(
    error.exit_code for error in (DataError, MissingInputError, UnavailableError, PermissionDeniedError, RecipeError)
)


def default_run_path(recipe_name: str) -> Path:
    """Return `runs/<recipe>/<time>`, a folder that doesn't exist yet."""
    base = Path("runs") / recipe_name / datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005
    path, count = base, 1
    while path.exists():
        count += 1
        path = base.with_name(f"{base.name}-{count}")
    return path


def find_unfinished_run(recipe_name: str) -> Path | None:
    """Return the newest run of a recipe that didn't complete, or None."""
    folder = Path("runs") / recipe_name
    if not folder.is_dir():
        return None
    for path in sorted((path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()), reverse=True):
        status = read_status(RunDir(path))
        if status is not None and status.state != "complete":
            return path
    return None


def refuse_used_folder(path: Path) -> None:
    """Refuse a run folder that holds something.

    Raises:
        OutputError: it does, or it is no folder.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: a file stands where the run folder should be")
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(
                f"{path}: the folder isn't empty; choose another with --out, or continue the run with --resume"
            )
    except OSError as error:
        raise OutputError(f"{path}: the run folder can't be looked into ({error.strerror})") from None


def refuse_links(path: Path) -> None:
    """Refuse to go on with a run in whose folder a link leads somewhere else, where it would write.

    Raises:
        OutputError: one does.
    """
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (found := Path(folder, name)).is_symlink():
                raise OutputError(f"{show(str(found), None)}: a link; a run is only continued in a folder without any")


def create_run_dir(path: Path, *, resume: bool) -> RunDir:
    """Create the folder of a run, or open it to resume, and lock it.

    Raises:
        OutputError: it holds something and `resume` is False, is in use by another process, or can't be created.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        # Neither records nor safetensors could name it.
        raise OutputError(f"{show(str(path), None)}: the name of a run folder has to be UTF-8") from None
    if not resume:
        refuse_used_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: the run folder can't be created ({error.strerror})") from None
    run_dir = RunDir(path)
    _lock(run_dir)
    return run_dir


def _lock(run_dir: RunDir) -> None:
    owner = f"{os.getpid()}@{socket.gethostname()}"
    try:
        if os.path.lexists(run_dir.lock):
            if run_dir.lock.is_symlink() or not run_dir.lock.is_file():
                raise OutputError(f"{run_dir.lock}: no file of this program; remove it")
            held_by = run_dir.lock.read_text(encoding="utf-8", errors="replace").strip()
            process_id, _, host = held_by.partition("@")
            is_number = process_id.isdecimal() and len(process_id) < LONGEST_NUMBER
            if held_by != owner and not (is_number and is_gone(int(process_id), host)):
                raise OutputError(
                    f"{run_dir.path}: in use by process {show(process_id)} on {show(host)}; "
                    f"if that is gone, remove {run_dir.lock.name}"
                )
            run_dir.lock.unlink()
        with run_dir.lock.open("x", encoding="utf-8") as stream:
            stream.write(owner)
    except FileExistsError:
        raise OutputError(f"{run_dir.path}: another process has just begun to write here") from None
    except OSError as error:
        raise OutputError(f"{run_dir.path}: can't be written ({error.strerror})") from None


def unlock(run_dir: RunDir) -> None:
    """Give the folder back; one of a run that was refused before it began is taken away."""
    with suppress(OSError):
        if _was_refused(run_dir):
            begun = (run_dir.status, run_dir.recipe, run_dir.data, run_dir.beginning, run_dir.rows, run_dir.lock)
            for path in (*begun, *run_dir.other_statuses()):
                path.unlink(missing_ok=True)
            for folder in (*run_dir.path.rglob(run_dir.checkpoints.name), *run_dir.path.glob("seed-*")):
                folder.rmdir()
            # Stays where anything else lies in it.
            run_dir.path.rmdir()
    run_dir.lock.unlink(missing_ok=True)


def _was_refused(run_dir: RunDir) -> bool:
    """Say whether what was asked for was wrong, and found out before anything was trained or measured."""
    status = read_status(run_dir)
    if status is None or status.state != "failed" or status.exit_code not in _REFUSALS:
        return False
    return not any(run_dir.path.rglob(run_dir.events.name)) and not any(run_dir.path.rglob(run_dir.predictions.name))


def link_latest(run_dir: RunDir, recipe_name: str) -> None:
    """Point `runs/<recipe>/latest` at a completed run that lies beside it."""
    if run_dir.path.parent.resolve() != (Path("runs") / recipe_name).resolve():
        return
    link = run_dir.path.parent / "latest"
    if link.is_dir() and not link.is_symlink():
        return
    beside = link.with_name(f".latest-{os.getpid()}")
    beside.symlink_to(run_dir.path.name)
    beside.replace(link)
