"""The errors a user can meet, each with its exit code; every other module raises these and nothing else on purpose.

    FinetuneError            70  a fault of this program
    ├── UsageError            2  wrong use of the command line
    ├── InvalidResultError    3  the run went through but its result is invalid (loss not finite)
    ├── RequirementError      4  a score is not what was required of it
    ├── DataError            65  a data file, checkpoint or run folder holds something wrong
    ├── MissingInputError    66  a named file or folder is not there
    ├── UnavailableError     69  something needed can't be had here (hub, device, package)
    ├── ResourceError        71  out of memory, a process could not be started
    ├── OutputError          73  the output folder can't be created or is in use
    ├── StorageError         74  reading or writing failed during the run (disk full)
    ├── StoppedError        130  the user pressed Ctrl-C
    │   ├── PreemptedError   75  told to stop by a signal; what was trained is saved, and --resume goes on
    │   └── TerminatedError 143  told to stop at once, or by a signal where nothing can be resumed
    ├── PermissionDeniedError 77 a file may not be read or written
    └── RecipeError          78  the recipe is wrong; holds every problem of the file at once
        └── SettingError     78  one value of it, found wrong by data, checkpoint or machine

The codes follow sysexits(3) where it has a name for the cause. Every error can be pickled, so that a worker process can raise it in
the one that waits for it. This module prints nothing.
"""

import errno
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS})


class FinetuneError(Exception):
    """An error with a message for users and a documented exit code."""

    exit_code = 70

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how the error is made again in another process: not by `__init__`, which may take other arguments than it keeps."""
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[FinetuneError], arguments: tuple[Any, ...]) -> FinetuneError:
    return kind.__new__(kind, *arguments)


class UsageError(FinetuneError):
    """Wrong use of the command line."""

    exit_code = 2


class InvalidResultError(FinetuneError):
    """The result of a run is invalid: a loss, gradient or probability is not finite."""

    exit_code = 3


class RequirementError(FinetuneError):
    """A score was measured, and is not what was required of it."""

    exit_code = 4


class DataError(FinetuneError):
    """The content of a data file, checkpoint or run folder is wrong."""

    exit_code = 65


class MissingInputError(FinetuneError):
    """A named file or folder does not exist."""

    exit_code = 66


class UnavailableError(FinetuneError):
    """Something the run needs can't be had here."""

    exit_code = 69


class ResourceError(FinetuneError):
    """The machine refused memory or a process."""

    exit_code = 71


class OutputError(FinetuneError):
    """The output can't be created where it was asked for."""

    exit_code = 73


class StorageError(FinetuneError):
    """Reading or writing failed while the run was under way."""

    exit_code = 74


class PermissionDeniedError(FinetuneError):
    """A file may not be read or written by this user."""

    exit_code = 77


class StoppedError(FinetuneError):
    """The user stopped the run."""

    exit_code = 130


class PreemptedError(StoppedError):
    """A signal stopped the run, which has kept what it had trained."""

    exit_code = 75


class TerminatedError(StoppedError):
    """Signals stopped the run before it could keep what it had trained."""

    exit_code = 143


class StopRun(BaseException):
    """Ends a run from wherever it is. Not an Exception, since no library may take it for a failure of its own.

    Attributes:
        error: what users are told.
    """

    def __init__(self, error: StoppedError) -> None:
        self.error = error
        super().__init__(str(error))


class RecipeError(FinetuneError):
    """A recipe is wrong.

    Attributes:
        problems: one line each, `file:line: key: what was found, what is allowed`.
    """

    exit_code = 78

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class SettingError(RecipeError):
    """One value of a recipe is wrong, which only data, checkpoint or machine could tell.

    Attributes:
        key: the key path of the value, such as train.batch_size; whoever has the recipe's file puts its place before it.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__([f"{key}: {message}"])


def suggest(wrong: str, names: Sequence[str]) -> str:
    """Return `; did you mean 'name'?` for the nearest of `names`, or an empty string when none is near."""
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(wrong.lower().strip(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def as_finetune_error(error: BaseException) -> FinetuneError:
    """Return what any exception means to a user: its cause in our words, with the exit code of the table above."""
    if isinstance(error, FinetuneError):
        return error
    if isinstance(error, StopRun):
        return error.error
    if isinstance(error, KeyboardInterrupt):
        return StoppedError("stopped by Ctrl-C; the same command with --resume goes on from the last checkpoint")
    text = first_line(error)
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
        return ResourceError(
            "out of memory: lower train.micro_batch_size (accumulation keeps the batch) or data.max_length"
        )
    if _disk_error_number(error) in _DISK_ERRORS:
        return StorageError(f"writing failed: {text}; what was written before is kept")
    if isinstance(error, PermissionError):
        return PermissionDeniedError(f"{error.filename}: no permission ({error.strerror})")
    return FinetuneError(f"a fault of this program: {type(error).__name__}: {text}")


def _disk_error_number(error: BaseException) -> int | None:
    """Return the system's number of an error; safetensors, written in Rust, only tells it in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
