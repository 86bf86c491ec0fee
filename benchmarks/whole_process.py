"""Whole processes: `finetune run` on two CSV files, report and all, against a plain Trainer's script that does the same job.

Owns the files and recipe of that job, the CPU time of both and their memory. The script is `plain_trainer`.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ratios import Bar, Row, compare
from benchmarks.sides import CHECKPOINT, PADDED_LENGTH

TRAINED, TESTED = 512, 128
STEPS_TO_PEAK = 3
RECIPE = f"""task: text-classification
model: {{checkpoint: "{CHECKPOINT["checkpoint"]}"}}
data: {{path: {{train: train.csv, test: test.csv}}, columns: {{text: text, label: label}}, max_length: 128}}
train: {{epochs: 1, precision: fp32, threads: 1}}
"""


def write_job(folder: Path, texts: Sequence[str], labels: Sequence[int]) -> None:
    """Write the recipe and its rows."""
    rows = list(zip(texts, labels, strict=True))
    for name, part in (("train", rows[:TRAINED]), ("test", rows[TRAINED : TRAINED + TESTED])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *part])
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")


def run_ours(folder: Path, out: Path) -> float:
    """Run the recipe, and return the CPU seconds it takes."""
    return cpu_seconds(["finetune", "run", "recipe.yaml", "--out", str(out)], folder)


def run_plain(checkpoint: Path, folder: Path, out: Path, *options: str) -> float:
    """Run the plain Trainer's script, and return the CPU seconds it takes."""
    return cpu_seconds(
        ["benchmarks.plain_trainer", str(checkpoint), "train.csv", "test.csv", str(out), *options], folder
    )


def start_process(module: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a module in a process of one thread, in a folder."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, **threads, "HF_HUB_OFFLINE": "1", "PYTHONPATH": root}
    command = [sys.executable, "-m", *module]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def cpu_seconds(module: list[str], folder: Path) -> float:
    """Return the CPU seconds that a module takes in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start_process(module, folder)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(module)} failed:\n{said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def process_row(checkpoint: Path, texts: Sequence[str], labels: Sequence[int], rounds: int) -> Row:
    """Return the CPU time of the plain script with length groups to that of `finetune run`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, texts, labels)
        return compare(
            f"whole `finetune run` of {TRAINED} + {TESTED} sentences, report included, against a plain Trainer's script "
            "with length groups",
            Bar(1.2, 1.8),
            lambda number: run_plain(checkpoint, folder, folder / f"plain-{number}"),
            lambda number: run_ours(folder, folder / f"ours-{number}"),
            rounds,
        )


def memory_row(checkpoint: Path, texts: Sequence[str], labels: Sequence[int], rounds: int) -> Row:
    """Return the peak memory of `finetune run` to that of the plain script padded to 128."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, texts, labels)
        padded = ("--pad-to", str(PADDED_LENGTH), "--steps", str(STEPS_TO_PEAK))

        def plain(number: int) -> float:
            out = folder / f"plain-{number}"
            run_plain(checkpoint, folder, out, *padded)
            return json.loads((out / "scores.json").read_text(encoding="utf-8"))["peak_megabytes"]

        def ours(number: int) -> float:
            out = folder / f"ours-{number}"
            run_ours(folder, out)
            report = json.loads((out / "report.json").read_text(encoding="utf-8"))
            return report["provenance"]["peak_memory_megabytes"]

        return compare(
            f"peak memory of `finetune run`, {TRAINED} sentences, / a plain Trainer's script padded to 128",
            Bar(0.45, 0.33, smaller_is_better=True),
            plain,
            ours,
            rounds,
            warm_up=0,
        )
