"""A first recipe for a user's own file: task and columns guessed from the rows, and every guess said.

Owns the guessing and the text of that recipe. The readers of files are `readers` and `documents`. Imports no torch.
"""

import math
import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from finetune.documents import TEXT_SUFFIX, guess_documents
from finetune.errors import DataError
from finetune.readers import ROW_INDEX, open_table

ROWS_LOOKED_AT = 2000
MOST_CLASSES = 50
# Fewer columns of 0 and 1 may be anything, such as a label with a mark beside it.
FEWEST_LABELS = 3
LABEL_WORDS = ("label", "labels", "class", "category", "target", "y", "sentiment", "intent", "topic")
TEXT_WORDS = ("text", "sentence", "document", "review", "comment", "message", "body", "content", "tweet")
SCORE_WORDS = ("score", "rating", "similarity", "relatedness")
# Names of two texts that belong together, beside those that end in 1 and 2, or in a and b.
PAIR_WORDS = (("premise", "hypothesis"), ("question", "answer"), ("question", "sentence"), ("query", "passage"))
PAIR_ENDINGS = (("1", "2"), ("a", "b"))
Values = dict[str, list[str]]


@dataclass(frozen=True)
class Guess:
    """What a file seems to hold, and why.

    Attributes:
        columns: {part: column} as in `data.columns`; empty for a .txt file.
        labels: values of the label column, of a task with classes.
        documents: what a document of a .txt file is.
    """

    path: Path
    task: str
    columns: dict[str, str | list[str]]
    labels: tuple[str, ...] = ()
    has_header: bool = True
    delimiter: str | None = None
    documents: str | None = None
    reasons: tuple[str, ...] = ()


def guess_recipe(path: Path) -> Guess:
    """Return which task fits a file, and which column plays which part.

    Raises:
        DataError: no column looks like a text, or none like a label.
    """
    if path.suffix.lower() == TEXT_SUFFIX:
        documents, reason = guess_documents(path)
        return Guess(
            path,
            "masked-lm",
            {},
            documents=documents,
            reasons=("texts without labels: masked language modelling", reason),
        )
    delimiter = _guess_delimiter(path)
    has_header = _has_header(path, delimiter)
    table = open_table(path, header=has_header, delimiter=delimiter)
    rows = [row.cells for row in islice(table.rows, ROWS_LOOKED_AT)]
    values = {
        column: [row[number] or "" for row in rows]
        for number, column in enumerate(table.columns)
        if column != ROW_INDEX
    }
    texts, reasons = _guess_texts(values)
    task, columns, labels, reason = _guess_labels(
        {name: values[name] for name in values if name not in texts.values()}, path
    )
    if "text_pair" in texts and task == "text-classification":
        task = "pair-classification"
    header = "the first line names the columns" if has_header else "the first line is data: columns are numbers"
    return Guess(path, task, {**texts, **columns}, labels, has_header, delimiter, reasons=(*reasons, reason, header))


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


def _guess_texts(values: Values) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return {part: column} of the text, or of both texts of a pair, and why."""
    lengths = {column: sum(map(len, cells)) / len(cells) for column, cells in values.items()}
    pair = _find_pair(values)
    if pair is not None:
        why = f"'{pair[0]}' and '{pair[1]}' are a pair: {lengths[pair[0]]:.0f} and {lengths[pair[1]]:.0f} characters on average"
        return {"text": pair[0], "text_pair": pair[1]}, (why,)
    text = max(values, key=lambda column: lengths[column] * (2 if column.lower() in TEXT_WORDS else 1))
    return {"text": text}, (f"'{text}' is the text: {lengths[text]:.0f} characters on average",)


def _find_pair(values: Values) -> tuple[str, str] | None:
    """Return the first two columns of several words whose names belong together."""
    texts = [column for column, cells in values.items() if sum(len(cell.split()) for cell in cells) > 2 * len(cells)]
    for first in texts:
        for second in texts:
            one, other = first.lower(), second.lower()
            is_numbered = len(one) > 1 and one[:-1] == other[:-1] and (one[-1], other[-1]) in PAIR_ENDINGS
            if is_numbered or (one, other) in PAIR_WORDS:
                return first, second
    return None


def _guess_labels(values: Values, path: Path) -> tuple[str, dict[str, str | list[str]], tuple[str, ...], str]:
    """Return the task, {part: column}, the values of classes, and why."""
    numbers = [column for column, cells in values.items() if _are_measured(cells)]
    classes = {column: count for column, cells in values.items() if (count := _count_classes(cells))}
    binary = [column for column, cells in values.items() if set(cells) == {"0", "1"}]
    named = [column for column in values if column.lower() in LABEL_WORDS and (column in numbers or column in classes)]
    scores = [column for column in numbers if set(re.split(r"[\W_]+", column.lower())) & set(SCORE_WORDS)]
    if not named and len(binary) >= FEWEST_LABELS:
        listed = ", ".join(f"'{column}'" for column in binary[:6]) + (", ..." if len(binary) > 6 else "")
        return "multilabel", {"labels": binary}, (), f"{len(binary)} columns of 0 and 1 are a label each: {listed}"
    if not classes and not numbers:
        counts = {column: len(set(cells)) for column, cells in values.items()}
        found = ", ".join(f"{column} ({count} values)" for column, count in counts.items()) or "none beside the text"
        raise DataError(
            f"{path}: no column looks like a label of 2 to {MOST_CLASSES} classes; found {found}. Write the recipe by hand: "
            "data.columns names text and label"
        )
    label = next(iter([*sorted(named, key=lambda column: classes.get(column, math.inf)), *scores]), None)
    label = label or (min(classes, key=lambda column: classes[column]) if classes else numbers[0])
    if label in numbers:
        found = [float(cell) for cell in values[label]]
        return "regression", {"label": label}, (), f"'{label}' is the number to learn: {min(found):g} to {max(found):g}"
    labels = tuple(sorted(set(values[label])))
    shown = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
    why = f"'{label}' is the label: {len(labels)} different values in {len(values[label])} rows ({shown})"
    return "text-classification", {"label": label}, labels, why


def _count_classes(cells: list[str]) -> int:
    """Return how many different values a column has that may be classes, 0 where it can't be."""
    count = len(set(cells))
    return count if 2 <= count <= max(2, min(MOST_CLASSES, len(cells) // 2)) and "" not in cells else 0


def _are_measured(cells: list[str]) -> bool:
    """Say whether all cells are finite numbers, and not all of them whole."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    return all(map(math.isfinite, numbers)) and not all(number == round(number) for number in numbers)


def render_recipe(guess: Guess, checkpoint: str, folder: Path) -> str:
    """Return the YAML of a recipe that lies in `folder`."""
    from finetune.resolved import render_yaml

    # Relative, so that recipe and data can move together.
    stated = os.path.relpath(guess.path.resolve(), folder.resolve())
    data: dict[str, Any] = {"path": str(stated)}
    if guess.columns:
        data["columns"] = {
            part: [_name(one, guess) for one in column] if isinstance(column, list) else _name(column, guess)
            for part, column in guess.columns.items()
        }
    if not guess.has_header:
        data["header"] = False
    if guess.delimiter:
        data["delimiter"] = guess.delimiter
    if guess.documents:
        data["documents"] = guess.documents
    body = render_yaml(
        {
            "task": guess.task,
            "model": {"checkpoint": checkpoint},
            "data": data,
            "train": {"epochs": 3, "batch_size": 32, "learning_rate": 5e-05},
        }
    )
    # A file name may hold anything; a comment must stay one line.
    name = guess.path.name.encode("ascii", "replace").decode()
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"# Written by finetune init from {name}; every key left out has its default (finetune show).\n{body}"


def _name(column: str, guess: Guess) -> str | int:
    return column if guess.has_header else int(column)
