"""The rows of one part as they are read: columns found, texts replaced where that is asked for, labels checked.

Owns the way from files to examples. Opening one is `readers` and `documents`; which rows play which part is `data`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.documents import open_rows
from finetune.errors import DataError, suggest
from finetune.labels import Labels
from finetune.layouts import label_columns
from finetune.readers import Table
from finetune.row_store import ROWS_A_CHUNK, build_examples, store_rows
from finetune.task import Layout, Part
from finetune.text_files import place

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

TEXTS = ("text", "text_pair")


@dataclass(frozen=True)
class ReadPart:
    """What the files of a part hold.

    Attributes:
        examples: columns `row` (`<part>/<number>`, numbered through all files), `text`, `label`, and what else is stated.
        labels: the labels with what this part added to them.
        slice_columns: names of the slices whose columns the files have.
        replaced: {text that was replaced: rows that held it}.
    """

    examples: "Dataset"
    labels: Labels
    slice_columns: tuple[str, ...]
    replaced: Mapping[str, int]


def read_part(
    part: Part,
    paths: Sequence[Path],
    layout: Layout,
    labels: Labels,
    slices: Sequence[str] = (),
    replacements: Mapping[str, str] | None = None,
) -> ReadPart:
    """Read the files of one part; `slices` are columns beside those of the layout by whose values scores are given.

    Raises:
        FinetuneError: a file is missing or wrong, with file:row:column.
    """
    replaced: Counter[str] = Counter(dict.fromkeys(replacements or {}, 0))
    slice_columns: tuple[str, ...] = ()

    def read() -> "Iterator[pa.Table]":
        import pyarrow as pa

        nonlocal labels, slice_columns
        done = 0
        for path in paths:
            table = open_rows(path, layout)
            columns, slice_columns = _find_columns(table, layout, slices)
            for lines, cells in _read_chunks(table, columns):
                for name, column in _name_labels(layout).items():
                    labels = labels.check(cells[name], lines, path, column)
                _replace_texts(cells, replacements or {}, replaced)
                rows = [f"{part}/{number}" for number in range(done, done + len(lines))]
                done += len(lines)
                # In Arrow memory a character takes a byte, and a cell no object.
                yield pa.table(
                    {
                        **{name: pa.array(values, pa.large_string()) for name, values in cells.items()},
                        "row": pa.array(rows),
                    }
                )

    stored = store_rows(read())
    labels = labels.freeze()
    return ReadPart(build_examples(_read_labels(stored, layout, labels)), labels, slice_columns, replaced)


def _read_chunks(table: Table, columns: Mapping[str, int]) -> Iterator[tuple[list[int], dict[str, list[str]]]]:
    """Yield the lines of some rows, and {our name: their cells}."""
    while rows := list(islice(table.rows, ROWS_A_CHUNK)):
        cells: dict[str, list[str]] = {}
        for name, position in columns.items():
            found = [row.cells[position] for row in rows]
            if None in found:
                spot = place(table.path, rows[found.index(None)].number, table.columns[position])
                raise DataError(f"{spot}: the cell is null, text is expected")
            cells[name] = [cell for cell in found if cell is not None]
        yield [row.number for row in rows], cells


def order_pairs(examples: "Dataset") -> "Dataset":
    """Return minimal pairs in an order that says nothing: which text comes first is drawn by a hash of both.

    `label` is 0 where the first text is the acceptable one, which is `text` of the rows given, and 1 where it is the second.
    """
    pairs = list(zip(*(examples[name][:] for name in TEXTS), strict=True))
    is_swapped = [
        hashlib.sha256(json.dumps(pair, ensure_ascii=False).encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1
        for pair in pairs
    ]
    ordered = [pair[::-1] if swap else pair for pair, swap in zip(pairs, is_swapped, strict=True)]
    others = examples.remove_columns(list(TEXTS))
    for name, values in (
        ("text", [first for first, _ in ordered]),
        ("text_pair", [second for _, second in ordered]),
        ("label", [int(swap) for swap in is_swapped]),
    ):
        others = others.add_column(name, values)
    return others


def refuse_missing_slices(stated: Sequence[str], found: Sequence[str], path: Path, layout: Layout) -> None:
    """Refuse slices of a recipe whose column a file doesn't have.

    Raises:
        DataError: no such column; the message names the nearest one.
    """
    missing = [column for column in stated if column not in found]
    if missing:
        _position(open_rows(path, layout), missing[0], "evaluate.slices")


def _name_labels(layout: Layout) -> dict[str, str]:
    """Return {our name: column} of the columns that hold labels."""
    return {f"label:{number}": column for number, column in enumerate(label_columns(layout))}


def _read_labels(rows: "pa.Table", layout: Layout, labels: Labels) -> "pa.Table":
    """Return the rows with what is to be learnt as the column `label`, where there is such a thing."""
    import pyarrow as pa

    names = list(_name_labels(layout))
    if not names:
        return rows
    # Ids of labels are known only once all rows are read.
    values = [labels.values([part[name].to_pylist() for name in names]) for part in rows.to_batches()]
    return rows.drop_columns(names).append_column("label", pa.chunked_array(values))


def _replace_texts(cells: Mapping[str, list[str]], replacements: Mapping[str, str], replaced: Counter[str]) -> None:
    for old, new in replacements.items():
        held = set()
        for texts in (cells[name] for name in TEXTS if name in cells):
            for number, text in enumerate(texts):
                if old in text:
                    texts[number] = text.replace(old, new)
                    held.add(number)
        replaced[old] += len(held)


def _find_columns(table: Table, layout: Layout, slices: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return {our name: position} of the columns in use, and the names of those that are slices."""
    found = {
        name: _position(table, column, f"data.columns.{name}")
        for name in (*TEXTS, "id", "group")
        if (column := getattr(layout, name)) is not None
    }
    key = "data.columns.label" if layout.label else "data.columns.labels"
    found |= {name: _position(table, column, key) for name, column in _name_labels(layout).items()}
    wanted = {**layout.slices, **{column: column for column in slices}}
    known = {name: table.columns.index(column) for name, column in wanted.items() if column in table.columns}
    return found | {f"slice:{name}": position for name, position in known.items()}, tuple(known)


def _position(table: Table, column: str, key: str) -> int:
    if column not in table.columns:
        # A quoted CSV header may hold line ends, and a message is one line.
        there = ", ".join(" ".join(name.split()) for name in table.columns[:20])
        aside = f"; not text are {', '.join(table.left_out)}" if table.left_out else ""
        raise DataError(
            f"{place(table.path)}: no column '{column}' ({key}), found are {there}{suggest(column, table.columns)}{aside}"
        )
    return table.columns.index(column)
