"""What strict reading costs: rows a second of one core, beside readers that check less.

    python -m benchmarks.reading [--rounds 5] [--rows 200000]

Process CPU time, interleaved, on made-up lines of SST-2's lengths (a label and 4 to 15 words). `csv.reader` gives lists of cells and checks
that quotes are closed; `datasets` guesses types and writes Arrow files. Prints a table and writes it into `results/`.
"""

import argparse
import csv
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.result_file import write_results
from finetune.readers import open_table

FLOOR = 200_000
WORDS = ["the", "a", "film", ",", "of", "and", "is", "movie", "heart", "rarely", "compelling", "uneven", "sustained"]


@dataclass(frozen=True)
class Row:
    """Rows a second: the median of the rounds, the least and the most, and what is promised."""

    row: str
    value: float
    low: float
    high: float
    bar: float | None


def write_files(folder: Path, rows: int) -> dict[str, Path]:
    """Write the same rows in each format; return the files by suffix."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(4, 16))) for _ in range(rows)]
    lines = [(text, str(number % 2)) for number, text in enumerate(texts)]
    paths = {suffix: folder / f"rows{suffix}" for suffix in (".tsv", ".csv", ".jsonl")}
    with paths[".csv"].open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("sentence", "label"), *lines])
    paths[".tsv"].write_text("".join(f"{text}\t{label}\n" for text, label in [("sentence", "label"), *lines]))
    paths[".jsonl"].write_text("".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in lines))
    return paths


def read_strictly(path: Path) -> None:
    """Read every row as a run does."""
    deque(open_table(path).rows, maxlen=0)


def read_with_csv(path: Path) -> None:
    """Read every row with the standard library."""
    with path.open(encoding="utf-8", newline="") as stream:
        deque(csv.reader(stream), maxlen=0)


def read_with_datasets(path: Path) -> None:
    """Read the file as `datasets` does, which writes it as Arrow and maps that."""
    from datasets import Dataset

    with tempfile.TemporaryDirectory() as cache:
        Dataset.from_csv(str(path), cache_dir=cache)


def main() -> None:
    """Measure every reader in each round, and show rows a second."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), asked.rows)
        sides: dict[str, tuple[Callable[[Path], None], Path, float | None]] = {
            "strict .tsv": (read_strictly, paths[".tsv"], FLOOR),
            "strict .csv": (read_strictly, paths[".csv"], FLOOR),
            "strict .jsonl": (read_strictly, paths[".jsonl"], FLOOR),
            "csv.reader alone": (read_with_csv, paths[".csv"], None),
            "datasets, csv": (read_with_datasets, paths[".csv"], None),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(asked.rounds + 1):
            for name, (read, path, _) in sides.items():
                began = time.process_time()
                read(path)
                if number:  # The first round warms up.
                    rates[name].append(asked.rows / (time.process_time() - began))
    rows = [
        Row(name, round(statistics.median(found)), round(min(found)), round(max(found)), sides[name][2])
        for name, found in rates.items()
    ]
    table = Table("reader", "rows a second", "low", "high", "floor", "", title="reading, one core")
    for row in rows:
        floor = "" if row.bar is None else f"{row.bar:,.0f}"
        missed = "MISSED" if row.bar is not None and row.value < row.bar else ""
        table.add_row(row.row, f"{row.value:,}", f"{row.low:,}", f"{row.high:,}", floor, missed)
    Console(width=100).print(table)
    write_results(rows, asked.rounds, "reading", rows_in_file=asked.rows)


if __name__ == "__main__":
    main()
