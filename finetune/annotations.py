"""What linguists noted of a task's test rows, joined to the rows of a run by their number.

Owns reading the annotations and telling how well they fit. The scores of the slices that they make are `scores`. Imports no torch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.errors import DataError, suggest
from finetune.readers import Row, Table, open_table, place
from finetune.task import Annotations, Task

# Published annotations may differ in a few texts; where more than this share differs, they speak of other rows.
MOST_OTHER_TEXTS = 0.5


@dataclass(frozen=True)
class AnnotatedRows:
    """Which rows show what.

    Attributes:
        slices: {"kind: column": positions of the rows that show it}, without those that no row shows.
        notes: what a reader must know of the join.
    """

    slices: dict[str, NDArray[np.int64]]
    notes: tuple[str, ...]


NOTHING = AnnotatedRows({}, ())


def find_annotated_rows(
    task: Task, rows: Sequence[str], texts: Sequence[tuple[str, ...]], labels: Sequence[str]
) -> AnnotatedRows:
    """Return which rows of the test show which phenomenon; nothing where the annotations aren't here or speak of other rows.

    `rows` are `<part>/<number>` and may have been drawn: the number joins. `labels` are label names. All three are (rows,).

    Raises:
        DataError: the file lacks a column or rows, or a cell holds something else than 0 or 1.
        FinetuneError: the file can't be read.
    """
    stated, root = task.annotations, os.environ.get("FINETUNE_DATA")
    if stated is None or not root or not rows:
        return NOTHING
    path = Path(root) / stated.folder / stated.file
    if not path.exists():
        return NOTHING
    table, lines = _read(path, task)
    numbers = np.array([int(row.partition("/")[2]) for row in rows])
    if numbers.max() >= len(lines):
        return NOTHING
    text, label = (table.columns.index(column) for column in (stated.text, stated.label))
    joined = [lines[number].cells for number in numbers]
    other_texts = sum((cells[text],) != row for cells, row in zip(joined, texts, strict=True))
    if other_texts > MOST_OTHER_TEXTS * len(rows):
        return NOTHING
    names = task.labels or {}
    other_labels = sum(names[str(cells[label])] != name for cells, name in zip(joined, labels, strict=True))
    slices = {}
    for column in stated.columns:
        place_of_column = table.columns.index(column)
        positions = np.flatnonzero([cells[place_of_column] == "1" for cells in joined])
        if len(positions):
            slices[f"{stated.kind}: {column}"] = positions
    return AnnotatedRows(slices, _describe(stated, other_texts, other_labels))


def _describe(stated: Annotations, other_texts: int, other_labels: int) -> tuple[str, ...]:
    if not other_texts and not other_labels:
        return ()
    counts = [
        f"{count} {name}{'' if count == 1 else 's'}" for count, name in ((other_texts, "text"), (other_labels, "label"))
    ]
    return (f"the {stated.kind} annotations are joined by row: {' and '.join(counts)} differ from these rows",)


def _read(path: Path, task: Task) -> tuple[Table, list[Row]]:
    """Return the annotations with all their rows, every cell checked."""
    assert task.annotations is not None
    stated, labels = task.annotations, tuple(task.labels or {})
    table = open_table(path)
    for column in (stated.text, stated.label, *stated.columns):
        if column not in table.columns:
            raise DataError(f"{place(path, 1)}: no column '{column}'{suggest(column, table.columns)}")
    allowed = {stated.label: labels, **dict.fromkeys(stated.columns, ("0", "1"))}
    places = {table.columns.index(column): (column, cells) for column, cells in allowed.items()}
    lines = list(table.rows)
    for line in lines:
        for position, (column, cells) in places.items():
            if line.cells[position] not in cells:
                found = (line.cells[position] or "")[:60]
                raise DataError(f"{place(path, line.number, column)}: {found!r} is not one of {', '.join(cells)}")
    if len(lines) != task.test_rows:
        raise DataError(f"{place(path)}: {len(lines):,} rows, {task.test_rows:,} expected")
    return table, lines
