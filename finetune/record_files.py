"""Records as files: written whole or not at all, read strictly.

Owns JSON of one record and of one a line. Which record lies where is `run_dir`.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from finetune.errors import DataError, MissingInputError, PermissionDeniedError, StorageError
from finetune.records import SCHEMA_VERSION
from finetune.text_files import show

R = TypeVar("R", bound=BaseModel)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside, flushed to the disk, then renamed.

    Raises:
        StorageError: the disk is full or failed.
    """
    _write_pieces(path, [text])


def _write_pieces(path: Path, pieces: Iterable[str]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free // 2**20
        raise StorageError(f"{path}: can't be written ({error.strerror}; {free} MB free)") from None
    finally:
        beside.unlink(missing_ok=True)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_text(path, json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: Path, records: Iterable[BaseModel]) -> None:
    """Write records as JSON lines, in the order given, each as it comes; whole or not at all as `write_text`."""
    _write_pieces(path, (record.model_dump_json() + "\n" for record in records))


def read_record(kind: type[R], path: Path) -> R:
    """Return a record as a file has it.

    Raises:
        DataError: it holds something else.
    """
    return parse_record(kind, path, read_text(path))


def read_text(path: Path) -> str:
    """Return what a file says; raises as `read_record`."""
    try:
        # Opening a pipe would wait for ever.
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: cannot be read (not a regular file)")
        return path.read_text(encoding="utf-8")
    except PermissionError:
        raise PermissionDeniedError(f"{path}: no permission to read this file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def parse_record(kind: type[R], path: Path, text: str) -> R:
    """Return the record that a text is, which stands at `path`; raises as `read_record`."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            allowed = f"1 to {SCHEMA_VERSION}"
            raise DataError(
                f"{path}: written in schema version {show(str(first['input']))}, this program reads versions {allowed}"
            ) from None
        where = show(".".join(str(part) for part in first["loc"]), 200)
        raise DataError(f"{path}: not a {_in_words(kind)} of this program: {where or 'file'}: {first['msg']}") from None


def _in_words(kind: type[BaseModel]) -> str:
    """Return the name of a kind of record as people write it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def read_lines(kind: type[R], path: Path) -> Iterator[R]:
    """Go through the records of one kind in a file.

    Raises:
        MissingInputError, DataError: there is no such file, or a line is no such record.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file")
    # Not splitlines(), which also splits at separators that a text may hold.
    lines = read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines if lines != [""] else (), 1):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: not a {_in_words(kind)}: {error.errors()[0]['msg']}") from None
