"""Files of text, read strictly: UTF-8, one line at a time, and one clear message for whatever is wrong with them.

Owns opening, decoding and the place that a message names. What the lines mean is for `readers` and `documents`.
"""

import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from finetune.errors import DataError, MissingInputError, PermissionDeniedError, StorageError, suggest

LINE_LIMIT = 16 * 1024 * 1024
# Whole signatures: a text file may well begin with the letters "PK" or "PAR1".
_SIGNATURES = (
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "a ZIP archive (.zip, .xlsx, .npz, .pt)"),
    (re.compile(rb"\x1f\x8b|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd"), "a file packed by gzip, bzip2, xz or zstd"),
    (re.compile(rb"PAR1\x15"), "a Parquet file"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle"),
    (re.compile(rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff"), "UTF-16 or UTF-32 text; save it as UTF-8"),
)


def place(path: Path, row: int | None = None, column: str | None = None) -> str:
    """Return `file:row:column` for a message, without what is None, on one line whatever the names hold."""
    parts = (part for part in (path, row, column) if part is not None)
    return ":".join(show(str(part), None if part is path else 60) for part in parts)


def show(text: str, limit: int | None = 60) -> str:
    """Return the beginning of a text of the data on one line, whatever it holds."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:limit])


@contextmanager
def file_errors(path: Path) -> Generator[None]:
    """Turn what the system says of a file into an error for users.

    Raises:
        MissingInputError, PermissionDeniedError, StorageError: it isn't there, may not be read, or reading failed.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a path with a NUL in it is a ValueError
        names = [entry.name for entry in path.parent.glob("*") if entry.name.isprintable()]
        raise MissingInputError(f"{place(path)}: no such file{suggest(path.name, names)}") from None
    except PermissionError:
        raise PermissionDeniedError(f"{place(path)}: no permission to read it") from None
    except OSError as error:
        raise StorageError(f"{place(path)}: reading failed: {error.strerror or error}") from error


def refuse_special_file(path: Path) -> None:
    """Refuse what is no regular file before it is opened, since opening a FIFO waits for ever.

    Raises:
        DataError: a folder, a device, a FIFO.
        MissingInputError, PermissionDeniedError: it isn't there, or may not be looked at.
    """
    with file_errors(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise DataError(f"{place(path)}: {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a data file")


def read_lines(path: Path) -> Generator[str]:
    """Yield each line with its line end; split at LF alone, since U+2028, form feeds and lone CRs are text.

    Raises:
        DataError: not UTF-8, a NUL byte, a line of more than 16 MiB, with file:line.
        MissingInputError, PermissionDeniedError, StorageError: the file can't be read.
    """
    with file_errors(path), path.open("rb") as handle:
        head = handle.read(16)
        for signature, kind in _SIGNATURES:
            if signature.match(head):
                raise DataError(f"{place(path)}: not UTF-8 text: looks like {kind}")
        handle.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
        for number, raw in enumerate(iter(partial(handle.readline, LINE_LIMIT + 1), b""), 1):
            if len(raw) > LINE_LIMIT:
                raise DataError(f"{place(path, number)}: a line of more than 16 MiB")
            if b"\0" in raw:
                raise DataError(f"{place(path, number)}: NUL byte; is the file UTF-16, or not text?")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                found = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {handle.tell() - len(raw) + error.start}"
                raise DataError(f"{place(path, number)}: {found}; is it Latin-1 (Windows-1252)?") from None
