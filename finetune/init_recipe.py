"""A first recipe for a user's own file: columns guessed from the rows, and every guess said.

Owns the guessing and the text of that recipe. The reader of files is `readers`. Imports no torch.
"""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from finetune.errors import DataError
from finetune.readers import open_table

ROWS_LOOKED_AT = 2000
MOST_CLASSES = 50
LABEL_WORDS = ("label", "labels", "class", "category", "target", "y", "sentiment", "intent", "topic")
TEXT_WORDS = ("text", "sentence", "document", "review", "comment", "message", "body", "content", "tweet")


@dataclass(frozen=True)
class Guess:
    """What the columns of a file seem to be, and why."""

    path: Path
    text: str
    label: str
    labels: tuple[str, ...]
    has_header: bool
    delimiter: str | None
    reasons: tuple[str, ...]


def guess_columns(path: Path) -> Guess:
    """Return which column holds the text and which the label.

    Raises:
        DataError: no column looks like a text, or none like a label.
    """
    delimiter = _guess_delimiter(path)
    has_header = _has_header(path, delimiter)
    table = open_table(path, header=has_header, delimiter=delimiter)
    columns = table.columns
    rows = [row.cells for row in islice(table.rows, ROWS_LOOKED_AT)]
    values = {column: [row[number] or "" for row in rows] for number, column in enumerate(columns)}
    text = _guess_text(values)
    label = _guess_label({column: cells for column, cells in values.items() if column != text}, path)
    labels = tuple(sorted(set(values[label])))
    shown = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
    average = sum(map(len, values[text])) / len(rows)
    return Guess(
        path,
        text,
        label,
        labels,
        has_header,
        delimiter,
        (
            f"'{text}' is the text: {average:.0f} characters on average",
            f"'{label}' is the label: {len(labels)} different values in {len(rows)} rows ({shown})",
            "the first line names the columns" if has_header else "the first line is data: columns are numbers",
        ),
    )


def _guess_delimiter(path: Path) -> str | None:
    """Return the separator of a .csv file, where it isn't the comma."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as stream:
        first = stream.readline()
    best = max((",", ";", "\t", "|"), key=first.count)
    return best if best != "," and first.count(best) > first.count(",") else None


def _has_header(path: Path, delimiter: str | None) -> bool:
    """Say whether the first line names the columns: no sentence, bare number or value of a later row is in it."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return True
    first, *rest = (
        row.cells for row in islice(open_table(path, header=False, delimiter=delimiter).rows, ROWS_LOOKED_AT)
    )
    later = [set(column) for column in zip(*rest, strict=True)] or [set()] * len(first)
    return not any(
        len(cell.split()) > 4 or cell.strip().lstrip("-").isdigit() or cell in values
        for cell, values in zip(first, later, strict=True)
        if cell
    )


def _guess_text(values: dict[str, list[str]]) -> str:
    return max(
        values,
        key=lambda column: (
            (sum(map(len, values[column])) / len(values[column])) * (2 if column.lower() in TEXT_WORDS else 1)
        ),
    )


def _guess_label(values: dict[str, list[str]], path: Path) -> str:
    counts = {column: len(set(cells)) for column, cells in values.items()}
    likely = {
        column: count
        for column, count in counts.items()
        if 2 <= count <= max(2, min(MOST_CLASSES, len(values[column]) // 2)) and "" not in values[column]
    }
    if not likely:
        found = ", ".join(f"{column} ({count} values)" for column, count in counts.items()) or "none beside the text"
        raise DataError(
            f"{path}: no column looks like a label of 2 to {MOST_CLASSES} classes; found {found}. Write the recipe by hand: "
            "data.columns names text and label"
        )
    return min(likely, key=lambda column: (column.lower() not in LABEL_WORDS, likely[column]))


def render_recipe(guess: Guess, checkpoint: str, folder: Path) -> str:
    """Return the YAML of a recipe that lies in `folder`."""
    from finetune.resolved import render_yaml

    # Relative, so that recipe and data can move together.
    stated = os.path.relpath(guess.path.resolve(), folder.resolve())
    column = (lambda name: name) if guess.has_header else int
    data = {"path": str(stated), "columns": {"text": column(guess.text), "label": column(guess.label)}}
    if not guess.has_header:
        data["header"] = False
    if guess.delimiter:
        data["delimiter"] = guess.delimiter
    body = render_yaml(
        {
            "task": "text-classification",
            "model": {"checkpoint": checkpoint},
            "data": data,
            "train": {"epochs": 3, "batch_size": 32, "learning_rate": 5e-05},
        }
    )
    # A file name may hold anything; a comment must stay one line.
    name = guess.path.name.encode("ascii", "replace").decode()
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"# Written by finetune init from {name}; every key left out has its default (finetune show).\n{body}"
