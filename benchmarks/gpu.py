"""BERT-base on a GPU: our trainer against plain Trainers, tokens a second, and the share of the GPU's peak that is used.

    python -m benchmarks.training --gpu

Owns the rows of a GPU, by wall time. Weights are random: speed doesn't depend on them. Without a GPU nothing is measured, and that is
said.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from benchmarks.products import list_products
from benchmarks.ratios import Bar, Row, compare, show_rows, summarise
from benchmarks.result_file import write_results
from benchmarks.sides import PADDED_LENGTH, Bench, encode, join_texts, time_training
from finetune.pooling import prepare_packing

COMMAND = "FINETUNE_DATA=... python -m benchmarks.training --gpu"
FP32, DYNAMIC, USED = (
    "GPU, BERT-base bf16, against Trainer fp32 padded to 128, CoLA batch 32",
    "GPU, BERT-base bf16, against Trainer bf16 padded to the longest of a batch, CoLA batch 32",
    "GPU, BERT-base bf16, share of the peak (MFU), texts of 512 tokens, largest batch",
)
BARS = {FP32: Bar(3, 6), DYNAMIC: Bar(1.5, 2.5), USED: Bar(0.40, 0.55)}
STEPS, SKIPPED = 20, 4
FULL, SMALL, LARGEST = 512, 32, 8192
PEAKS = {"H100 80GB HBM3": (989e12, 67e12), "H200": (989e12, 67e12), "A100": (312e12, 19.5e12)}
"""Dense FLOP/s in bf16 and in fp32 without TF32, from NVIDIA's data sheets; of other GPUs a large product is timed."""


@dataclass(frozen=True)
class Speed:
    """How fast our trainer goes through texts.

    Attributes:
        tokens_a_second: real ones, of all steps but the first few.
        used: share of the GPU's peak (model FLOPs utilisation; Chowdhery et al. 2022, appendix B), counting what is computed.
    """

    texts: str
    precision: str
    batch: int
    tokens_a_second: int
    used: float


def measure(texts: Sequence[str], labels: Sequence[int], tokenizer: PreTrainedTokenizerBase, rounds: int) -> None:
    """Measure, print and write, or say that there is nothing to measure on."""
    if not torch.cuda.is_available():
        show_rows([], "BERT-base on a GPU", BARS)
        print(f"there is no GPU here: {COMMAND}")
        return
    with tempfile.TemporaryDirectory() as name:
        workbench = Workbench(tokenizer, Path(name), texts, labels, BertConfig())
        cola = workbench.build("CoLA", SMALL)

        def ours(number: int) -> float:
            return run(cola, number, "bf16")

        rows = [
            compare(FP32, BARS[FP32], lambda number: run_plain(cola, number, PADDED_LENGTH), ours, rounds),
            compare(DYNAMIC, BARS[DYNAMIC], lambda number: run_plain(cola, number, None, bf16=True), ours, rounds),
        ]
        speeds = [
            measure_speeds(workbench, name, precision, size, rounds)
            for name in ("CoLA", "512 tokens")
            for precision in ("bf16", "fp32")
            for size in (SMALL, find_largest(workbench, name, precision))
        ]
    fullest = next(
        found for found in reversed(speeds) if (found[0].texts, found[0].precision) == ("512 tokens", "bf16")
    )
    rows.append(summarise(USED, BARS[USED], [speed.used for speed in fullest]))
    show(rows, [sorted(found, key=lambda speed: speed.used)[len(found) // 2] for found in speeds], rounds)


def show(rows: Sequence[Row], speeds: Sequence[Speed], rounds: int) -> None:
    """Print both tables and write them."""
    show_rows(rows, f"{torch.cuda.get_device_name()}, wall time, median of {rounds} rounds, same batches", {})
    table = Table("texts", "precision", "batch", "tokens/s", "MFU", title="our trainer, BERT-base")
    for speed in speeds:
        table.add_row(
            speed.texts, speed.precision, f"{speed.batch:,}", f"{speed.tokens_a_second:,}", f"{speed.used:.1%}"
        )
    Console().print(table)
    write_results(rows, rounds, "gpu", speeds=[vars(speed) for speed in speeds])


@dataclass(frozen=True)
class Workbench:
    """BERT-base and CoLA's sentences, as they are or joined to 512 tokens, for batches of any size."""

    tokenizer: PreTrainedTokenizerBase
    folder: Path
    texts: Sequence[str]
    labels: Sequence[int]
    config: BertConfig

    def model(self) -> BertForSequenceClassification:
        """Return a classifier with random weights."""
        torch.manual_seed(0)
        return BertForSequenceClassification(self.config)

    def build(self, texts: str, batch: int) -> Bench:
        """Return what both sides need to train on batches of this many rows; texts come again where there are too few."""
        found, limit = list(self.texts), PADDED_LENGTH
        if texts != "CoLA":
            lengths = encode(found, self.labels, self.tokenizer, FULL).lengths
            # Cut to the limit they are full to the last token.
            found, limit = join_texts(found, lengths, FULL, FULL), FULL
        repeated = list(islice(cycle(found), batch * STEPS))
        labels = list(islice(cycle(self.labels), len(repeated)))
        features = encode(repeated, labels, self.tokenizer, limit)
        return Bench(self.model, self.tokenizer, features, self.folder, batch)


def clock() -> float:
    """Return wall time once the GPU has done all that it was told to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def run(bench: Bench, number: int, precision: str) -> float:
    """Return the seconds that our trainer takes for all steps but the first."""
    return time_training(bench.ours(number, STEPS, precision), SKIPPED, clock)


def run_plain(bench: Bench, number: int, pad_to: int | None, **arguments: Any) -> float:
    """Return the same of a plain Trainer."""
    return time_training(bench.plain(number, STEPS, pad_to, **arguments), SKIPPED, clock)


def measure_speeds(workbench: Workbench, texts: str, precision: str, batch: int, rounds: int) -> list[Speed]:
    """Return the speed of each round."""
    bench = workbench.build(texts, batch)
    needed, peak = operations_a_token(workbench.build(texts, SMALL)), find_peak(precision)
    found = []
    for number in range(rounds):
        counted = bench.order(number)[SKIPPED:STEPS]
        tokens = sum(int(bench.features.lengths[rows].sum()) for rows in counted)
        speed = tokens / run(bench, number, precision)
        found.append(Speed(texts, precision, batch, round(speed), round(speed * needed / peak, 4)))
    return found


def operations_a_token(bench: Bench) -> float:
    """Return the floating-point operations of a training step by its tokens: linear layers, and attention's two products.

    Forward and backward take 12 × width × length of attention per token and layer.
    """
    model = bench.model().to("cuda" if torch.cuda.is_available() else "cpu").eval()
    prepare_packing(model)
    batch = send_to_device(next(bench.packed_batches(0, 1)), model.device)
    linear = sum(product.operations for product in list_products(model, batch))
    squares = sum(length**2 for length in batch["packed_bounds"]["lengths"])
    attention = 12 * model.config.num_hidden_layers * model.config.hidden_size * squares
    return (linear + attention) / batch["input_ids"].numel()


def find_peak(precision: str) -> float:
    """Return the FLOP/s that this GPU can do at best."""
    device = torch.cuda.get_device_name()
    known = next((peaks for name, peaks in PEAKS.items() if name in device), None)
    if known is not None:
        return known[precision != "bf16"]
    size = 8192
    square = torch.randn(size, size, device="cuda", dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    taken = []
    for _ in range(10):
        started = clock()
        _ = square @ square
        taken.append(clock() - started)
    return 2 * size**3 / min(taken)


def find_largest(workbench: Workbench, texts: str, precision: str) -> int:
    """Return the largest power of two of rows whose training fits the GPU, up to 8,192."""
    batch = SMALL
    while batch < LARGEST and _fits(workbench.build(texts, batch * 2), precision):
        batch *= 2
    return batch


def _fits(bench: Bench, precision: str) -> bool:
    try:
        bench.ours(0, 2, precision).train()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True
