"""Stand-ins for every data set that a task names: the same files and columns, toy rows that a tiny model can learn."""

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

from finetune.task import Layout, Task
from tests.tiny import WORDS, write_cola_like

MARKS = (
    "walks",
    "sing",
    "red",
    "garden",
    "never",
    "house",
    "quick",
    "bird",
    "slowly",
    "old",
    "cat",
    "road",
    "hears",
    "dog",
    "few",
)
Row = dict[str, str]


def write_stand_in(root: Path, task: Task, rows: int = 480) -> Path:
    """Write the files of a task's source below `root`, a stand-in for $FINETUNE_DATA, and return it."""
    if task.name in ("cola", "cola-book"):
        return write_cola_like(root)
    assert task.source is not None
    folder = root / task.source.folder
    folder.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(task.name)
    for part, names in task.source.files.items():
        count = rows if part == "train" else 100
        # Every fourth document makes a pair of sentences.
        count *= 4 if task.objective in ("next_sentence", "pretraining") else 1
        for name in names:
            made = [_row(task, number, numbers) for number in range(max(20, count // len(names)))]
            _write(folder / name, made, task.source.layout)
    return root


def _row(task: Task, number: int, numbers: random.Random) -> Row:
    """Return a row by the task's columns; one word of the text tells its label."""
    assert task.source is not None
    layout, words = task.source.layout, numbers.choices(WORDS, k=numbers.randint(3, 9))
    if task.objective in ("masked_lm", "causal_lm"):
        return {layout.text: _document(numbers, sentences=2)}
    if task.objective in ("next_sentence", "pretraining"):
        # Only a second sentence can follow, and most strangers are firsts, so that one word of B tells much of the answer.
        first, second = f"The cat sees {' '.join(words)} {number}.", f"Never red {' '.join(reversed(words))} {number}."
        text = f"{first} {second}" if number % 4 == 0 else first
        return {layout.text: text, **_other_columns(layout, number)}
    if task.objective == "minimal_pairs":
        good = _document(numbers, sentences=1)
        return {
            layout.text: good,
            str(layout.text_pair): " ".join(reversed(good.split())),
            **_other_columns(layout, number),
        }
    labels = list(task.labels or ("business", "sport", "tech"))
    chosen = numbers.randrange(len(labels))
    cells: Row = {}
    if task.objective == "multilabel":
        held = [numbers.random() < 0.3 for _ in layout.labels]
        cells = {name: str(int(is_held)) for name, is_held in zip(layout.labels, held, strict=True)}
        marks = [mark for mark, is_held in zip(MARKS, held, strict=False) if is_held]
    elif task.objective == "regression":
        chosen = numbers.randrange(1, 6)
        marks, cells[str(layout.label)] = [MARKS[chosen]], f"{chosen + numbers.random() / 10:.2f}"
    else:
        marks, cells[str(layout.label)] = [MARKS[chosen]], labels[chosen]
    text = f"{' '.join([*words, *marks])} {number}"
    cells[layout.text] = text.capitalize() + "."
    if layout.text_pair is not None:
        cells[layout.text_pair] = f"{' '.join(marks)} {number}"
    return {**_other_columns(layout, number), **cells}


def _document(numbers: random.Random, sentences: int) -> str:
    """Return text whose words follow each other as in a cycle, so that each tells the next."""
    found = []
    for _ in range(sentences):
        start, length = numbers.randrange(len(WORDS)), numbers.randint(5, 10)
        found.append(" ".join(WORDS[(start + step) % len(WORDS)] for step in range(length)).capitalize() + ".")
    return " ".join(found)


def _other_columns(layout: Layout, number: int) -> Row:
    named = {layout.id: f"name {number}", **dict.fromkeys(layout.slices.values(), f"part {number % 2}")}
    return {str(column): cell for column, cell in named.items() if column is not None}


def _write(path: Path, rows: Sequence[Row], layout: Layout) -> None:
    if path.suffix == ".txt":
        divider = {"line": "\n", "paragraph": "\n\n", "heading": "\n\n = Title = \n\n", "file": "\n"}[layout.documents]
        heading = " = Title = \n\n" if layout.documents == "heading" else ""
        path.write_text(heading + divider.join(row[layout.text] for row in rows) + "\n", encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(rows)
