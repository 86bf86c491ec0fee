"""What an evaluation costs: bootstrap intervals, randomisation and the report, in CPU seconds on one thread.

    python -m benchmarks.evaluation [--rounds 3] [--report RUN/report.json]

Measures process CPU time, so that a busy machine counts little, and against scipy's bootstrap of scikit-learn's metrics. The rows are
made up, those of CoLA's test in number and of a large one; the report is that of a run, or the largest of the tests'. Prints a table
and writes it beside `results/`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np
import scipy.stats
import sklearn.metrics
from rich.console import Console
from rich.table import Table

from benchmarks.result_file import write_results
from finetune.answers import Answers, build_answers
from finetune.metrics import METRICS, list_metrics
from finetune.resampling import choose_resampling, randomisation_differences
from finetune.statistics import bootstrap_intervals

SMALL, LARGE = 1_043, 67_000
RESAMPLES = 10_000
RESAMPLES_OF_SCIPY = 100
COMPARED: dict[str, Callable[[Answers], float]] = {
    "matthews_correlation": lambda answers: sklearn.metrics.matthews_corrcoef(answers.expected, answers.predicted),
    "roc_auc": lambda answers: sklearn.metrics.roc_auc_score(answers.expected, answers.probabilities[:, 1]),
    "log_loss": lambda answers: sklearn.metrics.log_loss(answers.expected, answers.probabilities),
}


@dataclass(frozen=True)
class Row:
    """One line of the table: the median of the rounds, the least and the most, and what is promised."""

    row: str
    unit: str
    value: float
    low: float
    high: float
    bar: float | None


def make_answers(rows: int, seed: int = 0) -> Answers:
    """Return the answers of a made-up model of two labels that is better than chance."""
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, 2, rows)
    masses = np.exp(generator.normal(size=(rows, 2)) + np.eye(2)[expected])
    return build_answers(expected, masses / masses.sum(axis=1, keepdims=True))


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def build_row(name: str, unit: str, measure: Callable[[], float], rounds: int, bar: float | None) -> Row:
    """Return the median of some rounds."""
    values = [measure() for _ in range(rounds)]
    median, low, high = (round(value, 3) for value in (statistics.median(values), min(values), max(values)))
    return Row(name, unit, median, low, high, bar)


def bootstrap_row(rows: int, bar: float, rounds: int) -> Row:
    """Return how long intervals of every metric take."""
    answers = make_answers(rows)
    return build_row(
        f"bootstrap, {RESAMPLES:,} resamples of {len(list_metrics(Answers))} metrics, {rows:,} rows",
        "s",
        lambda: cpu_seconds(lambda: bootstrap_intervals(list_metrics(Answers), answers, resamples=RESAMPLES)),
        rounds,
        bar,
    )


def randomisation_row(rows: int, rounds: int) -> Row:
    """Return how long approximate randomisation of every metric takes for two models."""
    first = make_answers(rows)
    second = build_answers(first.expected, make_answers(rows, seed=1).probabilities)
    resampling = choose_resampling(first.expected)
    return build_row(
        f"randomisation, {RESAMPLES:,} resamples of {len(list_metrics(Answers))} metrics, {rows:,} rows",
        "s",
        lambda: cpu_seconds(
            lambda: randomisation_differences(list_metrics(Answers), [first], [second], resampling, RESAMPLES)
        ),
        rounds,
        None,
    )


def scipy_row(name: str, rows: int, rounds: int) -> Row:
    """Return how many times longer scipy's bootstrap of scikit-learn's metric takes for one resample, in interleaved rounds."""
    answers = make_answers(rows)

    def of_scipy() -> float:
        return cpu_seconds(
            lambda: scipy.stats.bootstrap(
                (np.arange(rows),),
                lambda chosen: COMPARED[name](answers[chosen]),
                method="percentile",
                vectorized=False,
                n_resamples=RESAMPLES_OF_SCIPY,
                rng=np.random.default_rng(0),
            )
        )

    def ratio() -> float:
        ours = cpu_seconds(lambda: bootstrap_intervals([name], answers, resamples=RESAMPLES))
        return (of_scipy() / RESAMPLES_OF_SCIPY) / (ours / RESAMPLES)

    name_of_row = f"scipy's bootstrap of scikit-learn against ours, {METRICS[name].title}, {rows:,} rows"
    return build_row(name_of_row, "x", ratio, rounds, None)


RENDER = """
import sys, time
from pathlib import Path
from finetune.render import render_files
from finetune.run_dir import RunDir, read_report
loaded = time.process_time()
render_files(read_report(RunDir(Path(sys.argv[1]).parent)), RunDir(Path(sys.argv[2])))
print(time.process_time() - loaded, time.process_time())
"""
"""Reads a report.json and writes all its files, in a process of its own: the templates are compiled then as for a user."""


def report_rows(report: Path, rounds: int) -> list[Row]:
    """Return how long HTML, Markdown and pictures of a report take, alone and with the start of Python."""

    def measure() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", RENDER, str(report), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        rendering, whole = map(float, done.stdout.split())
        return rendering, whole

    measured = [measure() for _ in range(rounds)]
    size = f"report.json of {report.stat().st_size // 1024:,} KiB"
    return [
        build_row(f"rendering, {size}", "s", iter([alone for alone, _ in measured]).__next__, rounds, 1.0),
        build_row(
            "the same with the start of Python", "s", iter([whole for _, whole in measured]).__next__, rounds, None
        ),
    ]


def write_example(folder: Path) -> Path:
    """Write the report of the tests that has every part, and return its path."""
    from finetune.record_files import write_record
    from finetune.run_dir import RunDir
    from tests.report_examples import single_seed

    run_dir = RunDir(folder)
    write_record(run_dir.report, single_seed())
    return run_dir.report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="report.json of a run, instead of the tests' largest")
    chosen = parser.parse_args()
    # The first call imports parts of scipy, once a process.
    bootstrap_intervals(list_metrics(Answers), make_answers(SMALL), resamples=1)
    with tempfile.TemporaryDirectory() as folder:
        report = chosen.report or write_example(Path(folder))
        rows = [
            bootstrap_row(SMALL, 5.0, chosen.rounds),
            bootstrap_row(LARGE, 60.0, chosen.rounds),
            randomisation_row(SMALL, chosen.rounds),
            *(scipy_row(name, SMALL, chosen.rounds) for name in COMPARED),
            *report_rows(report, chosen.rounds),
        ]
    show(rows, chosen.rounds)


def show(rows: list[Row], rounds: int, name: str = "evaluation") -> None:
    """Print the table and write it under its name, with what it was measured on."""
    table = Table("measured", "value", "low", "high", "bar", title=f"process CPU time, one thread, {rounds} rounds")
    for row in rows:
        numbers = [
            f"{value:.2f} {row.unit}" if value < 100 else f"{value:.0f} {row.unit}"
            for value in (row.value, row.low, row.high)
        ]
        bar = "" if row.bar is None else f"{row.bar:g} {row.unit}{'' if row.value <= row.bar else ' MISSED'}"
        table.add_row(row.row, *numbers, bar)
    Console().print(table)
    write_results(rows, rounds, name)


if __name__ == "__main__":
    main()
