"""What padding-free training is worth, against plain Trainers and a raw loop: the table of README's section on speed.

    python -m benchmarks.training [--rounds 5] [--steps 6] [--only ROW] [--gpu]

Measures ratios of process CPU time, interleaved round by round in one run, one thread, 32-bit floats, the packaged BERT, 2,000 shuffled
CoLA sentences, batch 32, dropout as the checkpoint has it on both sides. Sentences are those of $FINETUNE_DATA/cola where that is set,
else made up. Prints a table and writes it to `results/`, but for --only. --gpu measures the rows of a GPU instead (`gpu`).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

for library in ("OMP", "RAYON"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "--gpu" not in sys.argv:
    # All other rows are those of a processor.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu
from benchmarks.ratios import Row, show_rows
from benchmarks.result_file import write_results
from benchmarks.sides import PADDED_LENGTH, Bench, encode, load_classifier, open_packaged, read_sentences
from benchmarks.training_rows import (
    dynamic_row,
    evaluation_row,
    grouped_row,
    long_row,
    overhead_row,
    padded_row,
    peak_row,
)
from benchmarks.whole_process import memory_row, process_row

SENTENCES = 2000


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a padded training in each round")
    parser.add_argument("--only", help="measure this row alone, and write nothing")
    parser.add_argument("--gpu", action="store_true", help="measure the rows of a GPU instead")
    chosen = parser.parse_args()
    checkpoint, tokenizer = open_packaged()
    source, texts, labels = read_sentences(SENTENCES)
    features = encode(texts, labels, tokenizer, PADDED_LENGTH)
    rounds, steps = chosen.rounds, chosen.steps
    if chosen.gpu:
        gpu.measure(texts, labels, tokenizer, rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(partial(load_classifier, checkpoint.folder), tokenizer, features, Path(folder))
        rows: dict[str, Callable[[], Row]] = {
            "padded": lambda: padded_row(bench, rounds, steps),
            "dynamic": lambda: dynamic_row(bench, rounds, steps * 2),
            "grouped": lambda: grouped_row(bench, rounds),
            "long": lambda: long_row(bench, texts, rounds, steps),
            "evaluation": lambda: evaluation_row(bench, rounds),
            "overhead": lambda: overhead_row(bench, rounds, steps * 2),
            "process": lambda: process_row(checkpoint.folder, texts, labels, rounds),
            "memory": lambda: memory_row(checkpoint.folder, texts, labels, rounds),
            "peak": lambda: peak_row(bench, rounds, steps),
        }
        if chosen.only and chosen.only not in rows:
            parser.error(f"--only {chosen.only}: allowed are {', '.join(rows)}")
        measured = []
        for name, measure in rows.items():
            if chosen.only in (None, name):
                measured.append(measure())
                # The whole table takes half an hour.
                print(f"{measured[-1].row}: {measured[-1].ratio:.3f}", file=sys.stderr, flush=True)
    show_rows(
        measured,
        f"{len(features):,} {source} sentences of {features.lengths.mean():.1f} tokens on average, batch {bench.batch_size}; "
        f"process CPU time, one thread, fp32; median of {rounds} rounds",
        {} if chosen.only else gpu.BARS,
    )
    if chosen.only is None:
        print(f"not yet measured, for want of a GPU: {gpu.COMMAND}")
        write_results(
            measured,
            rounds,
            "",
            source=source,
            sentences=len(features),
            **describe_lengths(features.lengths),
            not_yet_measured=dict.fromkeys(gpu.BARS, gpu.COMMAND),
        )


def describe_lengths(lengths: NDArray[np.int64]) -> dict[str, float]:
    """Return how the tokens of the rows are distributed."""
    shares = {f"p{share}_tokens": int(np.percentile(lengths, share)) for share in (5, 25, 50, 75, 95)}
    return {"mean_tokens": round(float(lengths.mean()), 1), **shares, "longest_tokens": int(lengths.max())}


if __name__ == "__main__":
    main()
