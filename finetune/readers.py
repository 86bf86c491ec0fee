"""Read tables of text from .tsv, .csv, .jsonl and .parquet files, every cell exactly the text that stands in the file.

Nothing is guessed: `NA`, `null`, `007` and ` x ` are text; no cell is dropped, joined, moved or trimmed. What is not a
clean table is refused with one line that names file, row and column. The rules where a format leaves a choice:

    text      UTF-8; a byte order mark is dropped; a line ends at LF or CRLF and nowhere else; NUL bytes are refused; a
              line, or a quoted cell of several lines, holds at most 16 MiB; blank lines may stand only at the end
    .tsv      a tab separates cells and there is no quoting: `"` is text
    .csv      RFC 4180; a quoted cell may hold delimiters and line ends; a `"` inside an unquoted cell is text; a first
              column without a name is called `(row index)`
    .jsonl    one object a line, each with the keys of the first; numbers stay as written; true and false become text;
              null becomes None; a list or an object in a cell is refused
    .parquet  strings as they are, numbers with repr(), bool as true or false, null becomes None; columns of any other
              type are left out and named in `Table.left_out`

Rows are read as they are used, so a file may be larger than memory; an error further down comes when it is reached.
"""

import csv
import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from finetune.errors import DataError, UnavailableError, suggest
from finetune.text_files import LINE_LIMIT, file_errors, place, read_lines, refuse_special_file, show

SUFFIXES = (".csv", ".jsonl", ".parquet", ".tsv")
ROW_INDEX = "(row index)"
_NO_TEXT = (list, dict, float)
_HALVES = re.compile("[\ud800-\udfff]")
_CSV_FAULTS = {
    "unexpected end": "a quote opened in this row is never closed",
    "expected after": "text after a closing quote, at line {line}; is an earlier quote never closed, or not doubled?",
    "new-line character": "a carriage return outside quotes; lines must end with LF or CRLF",
    "field larger": "a cell of more than 16 MiB; is a quote opened in this row never closed?",
}
# Warstadt et al. 2019: where a sentence comes from, whether it is acceptable, how its author marked it, and the sentence.
_RAW_COLA = re.compile(r"[^\t]+\t[01]\t\*?\t[^\t]+")
_PARQUET_TYPES = re.compile(r"(dictionary<values=)?(\w*string\w*|u?int\d+|halffloat|float|double|bool|null)(, .*)?")


class Row(NamedTuple):
    """One record: the line (in a Parquet file the row) where it starts, from 1, and its cells; None is a null."""

    number: int
    cells: tuple[str | None, ...]


@dataclass(frozen=True)
class Table:
    """A table being read; `columns` are `1`, `2`, ... without a header; `rows`, never empty, can be used once."""

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[Row]
    left_out: tuple[str, ...] = ()  # `name (type)` of each Parquet column without text, numbers or truth values


def open_table(path: Path, *, header: bool = True, delimiter: str | None = None) -> Table:
    """Open the table in `path`, read in the format that its suffix names.

    With `header=False` the first line of a .tsv or .csv is a row; `delimiter` separates the cells of a .csv.

    Raises:
        MissingInputError: there is no such file.
        PermissionDeniedError: the file may not be read.
        DataError: no regular file, another suffix, an option the format lacks, no rows, a wrong row; `rows` too.
        StorageError: the file system failed while reading; `rows` too.
        UnavailableError: a Parquet file without pyarrow.
    """
    refuse_special_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{place(path)}: not a .csv, .jsonl, .parquet or .tsv file{suggest(suffix, SUFFIXES)}")
    if delimiter is not None and (suffix != ".csv" or len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise DataError(f"{place(path)}: delimiter {delimiter!r}: one character, no quote or line end, for .csv only")
    if not header and suffix in (".jsonl", ".parquet"):
        raise DataError(f"{place(path)}: a {suffix} file names its columns itself; 'header' is for .tsv and .csv")
    other = {".jsonl": _jsonl, ".parquet": _parquet}
    table = other[suffix](path) if suffix in other else _delimited(path, header, delimiter)
    first = next(table.rows, None)
    if first is None:
        raise DataError(f"{place(path)}: no rows, only column names")
    return replace(table, rows=chain([first], table.rows))


def _names(path: Path, row: int | None, names: Sequence[str]) -> tuple[str, ...]:
    seen = set()
    for position, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{place(path, row)}: column {position} has no name (a row index?); name it or remove it")
        if name in seen:
            raise DataError(f"{place(path, row, name)}: two columns have this name")
        seen.add(name)
    return tuple(names)


def _without_blanks(path: Path, records: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield the records before the blank lines at the end, at least one; raise DataError for other blank lines."""
    blank = last = 0
    for number, record in records:
        if not record:
            blank = blank or number
        elif blank:
            raise DataError(f"{place(path, blank)}: blank line; blank lines may stand only at the end of the file")
        else:
            last = number
            yield number, record
    if not last:
        raise DataError(f"{place(path)}: no rows, the file is {'blank' if blank else 'empty'}")


def _tsv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        text = line.removesuffix("\n").removesuffix("\r")
        yield number, text.split("\t") if text else []


def _csv_records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # The limit holds for the whole process, so it is only ever raised: other code may rely on a higher one.
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    number = 1
    with closing(read_lines(path)) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                yield number, cells
                number = reader.line_num + 1
        except csv.Error as error:
            fault = next((ours for theirs, ours in _CSV_FAULTS.items() if theirs in str(error)), str(error))
            raise DataError(f"{place(path, number)}: {fault.format(line=reader.line_num)}") from None


def _delimited(path: Path, header: bool, delimiter: str | None) -> Table:
    is_csv = path.suffix.lower() == ".csv"
    cause = f"a cell with {delimiter or ','!r} that is not in quotes" if is_csv else "a stray tab"
    records = _without_blanks(path, _csv_records(path, delimiter or ",") if is_csv else _tsv_records(path))
    number, cells = next(records)
    if header and _RAW_COLA.fullmatch(("\t" if not is_csv else delimiter or ",").join(cells)):
        raise DataError(
            f"{place(path, number)}: no names of columns but a line as CoLA's own files have it (source, label, mark, "
            "sentence); name the file .tsv, and set data.header to false, data.columns to {text: 4, label: 2}"
        )
    if is_csv and delimiter is None and len(cells) == 1 and (other := re.search("[\t;]" if header else "\t", cells[0])):
        guess = "tab separated" if other[0] == "\t" else "separated by ';'"
        raise DataError(f"{place(path, number)}: one column found; is it {guess}? If not, set the delimiter to ','")
    if not header:
        columns = tuple(str(position) for position in range(1, len(cells) + 1))
        return Table(path, columns, _rows(path, chain([(number, cells)], records), len(columns), cause))
    if is_csv and len(cells) > 1 and not cells[0]:
        # pandas writes the row index so, and nothing else does.
        cells = [ROW_INDEX, *cells[1:]]
    return Table(path, _names(path, number, cells), _rows(path, records, len(cells), cause))


def _rows(path: Path, records: Iterable[tuple[int, list[str]]], width: int, cause: str) -> Iterator[Row]:
    for number, cells in records:
        if len(cells) != width:
            count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}, {width} expected"
            raise DataError(f"{place(path, number)}: {count}; is there {cause}, or a line break inside a cell?")
        yield Row(number, tuple(cells))


def _jsonl(path: Path) -> Table:
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, object_pairs_hook=_object)
    lines = ((number, line.strip(" \t\r\n")) for number, line in enumerate(read_lines(path), 1))
    records = ((number, _record(path, number, line, decoder)) for number, line in _without_blanks(path, lines))
    number, record = next(records)
    columns = _names(path, number, tuple(record))
    return Table(path, columns, _json_rows(path, chain([(number, record)], records), columns))


def _record(path: Path, number: int, line: str, decoder: json.JSONDecoder) -> dict[str, Any]:
    if number == 1 and (line == "{" or line.startswith("[")):
        raise DataError(f"{place(path)}: looks like one JSON document, one object a line is expected")
    try:
        record = decoder.decode(line)
    except (ValueError, RecursionError) as error:
        fault = f"{error.msg} (character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{place(path, number)}: not a whole JSON object: {fault}") from None
    if not isinstance(record, dict) or not record:
        raise DataError(f"{place(path, number)}: not a JSON object with keys; one object a line is expected")
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{show(max(names, key=names.count))}' stands twice")
    return record


def _json_rows(path: Path, records: Iterable[tuple[int, Any]], columns: tuple[str, ...]) -> Iterator[Row]:
    names = set(columns)
    # A name may be half a pair too, and is the same in every record.
    odd = [name for name in columns if _is_half_a_pair(name)]
    for number, record in records:
        if record.keys() != names:
            other = ", ".join(f"'{show(name)}'" for name in sorted(names ^ record.keys())[:4])
            raise DataError(f"{place(path, number)}: not the keys of the first object, missing or new: {other}")
        for column, value in record.items():
            # Numbers are read as text, so a float can only be NaN or Infinity, which JSON does not have.
            if isinstance(value, _NO_TEXT):
                raise DataError(f"{place(path, number, column)}: a list, an object or NaN, not a string or a number")
            if odd or (isinstance(value, str) and _is_half_a_pair(value)):
                raise DataError(f"{place(path, number, column)}: half of a surrogate pair, as \\ud83d alone")
        yield Row(number, tuple([_text(record[column]) for column in columns]))


def _is_half_a_pair(text: str) -> bool:
    """Say whether a text holds half of a UTF-16 pair, which an escape can name, but which is no character and can't be written."""
    return not text.isascii() and _HALVES.search(text) is not None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value)


@contextmanager
def _parquet_file(path: Path) -> Generator[Any]:
    """Open a Parquet file; raise DataError for one that is not, or is damaged, also while it is being read."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UnavailableError(f"{place(path)}: reading Parquet needs the package pyarrow: {error}") from error
    with file_errors(path), path.open("rb") as handle:
        try:
            with pyarrow.parquet.ParquetFile(handle) as file:
                yield file
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            if getattr(error, "errno", None):
                raise
            raise DataError(f"{place(path)}: not a whole Parquet file: {show(str(error), limit=200)}") from None


def _parquet(path: Path) -> Table:
    with _parquet_file(path) as file:
        names, kinds = _names(path, None, file.schema_arrow.names), map(str, file.schema_arrow.types)
    types = dict(zip(names, kinds, strict=True))
    columns = tuple(name for name, kind in types.items() if _PARQUET_TYPES.fullmatch(kind))
    left_out = tuple(show(f"{name} ({kind})") for name, kind in types.items() if name not in columns)
    if not columns:
        raise DataError(f"{place(path)}: no column of text or numbers among {len(names)}: {', '.join(left_out[:4])}")
    return Table(path, columns, _parquet_rows(path, columns), left_out)


def _parquet_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    done = 0
    with _parquet_file(path) as file:
        for batch in file.iter_batches(4096, columns=list(columns), use_threads=False):
            try:
                cells = [map(_text, batch.column(column).to_pylist()) for column in columns]
            except UnicodeDecodeError:
                raise DataError(f"{place(path)}: not UTF-8 in rows {done + 1} to {done + len(batch)}") from None
            yield from map(Row, range(done + 1, done + len(batch) + 1), zip(*cells, strict=True))
            done += len(batch)
