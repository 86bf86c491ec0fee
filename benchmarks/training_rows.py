"""How fast rows are trained on and evaluated, against plain Trainers and a raw loop: process CPU time, one thread, 32-bit floats.

Owns the comparisons that run within this process. Both sides of each are built in `sides`.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from benchmarks.products import list_products, time_product
from benchmarks.ratios import Bar, Row, compare, summarise
from benchmarks.sides import PADDED_LENGTH, Bench, RawLoop, as_dataset, encode, join_texts, time_training
from finetune.features import Features
from finetune.packing import Packer
from finetune.pooling import prepare_packing
from finetune.predict import predict_logits

SKIPPED = 1
LONG_BATCH, SHORTEST, LONGEST = 8, 64, 300
EVALUATED = 512


def padded_row(bench: Bench, rounds: int, steps: int) -> Row:
    """Return training against padding to 128, run_glue's default."""
    return compare(
        "train, against Trainer padded to 128, same batches",
        Bar(8.5, 12),
        lambda number: time_training(bench.plain(number, steps, PADDED_LENGTH), SKIPPED),
        lambda number: time_training(bench.ours(number, steps), SKIPPED),
        rounds,
    )


def dynamic_row(bench: Bench, rounds: int, steps: int) -> Row:
    """Return training against padding to the longest row of each batch."""
    return compare(
        "train, against Trainer padded to the longest of a batch, same batches",
        Bar(1.6, 2.2),
        lambda number: time_training(bench.plain(number, steps), SKIPPED),
        lambda number: time_training(bench.ours(number, steps), SKIPPED),
        rounds,
    )


def grouped_row(bench: Bench, rounds: int, steps: int | None = None) -> Row:
    """Return training against batches of like length, over whole epochs: theirs begin with the longest rows."""
    grouped: dict[str, Any] = {"train_sampling_strategy": "group_by_length"}
    return compare(
        "train an epoch, against Trainer with length groups",
        Bar(1.0, 1.3),
        lambda number: time_training(bench.plain(number, steps, **grouped), 0),
        lambda number: time_training(bench.ours(number, steps), 0),
        rounds,
    )


def long_row(bench: Bench, texts: Sequence[str], rounds: int, steps: int) -> Row:
    """Return training on long texts against padding to the longest of each batch."""
    joined = join_texts(texts, bench.features.lengths, SHORTEST, LONGEST - 20)
    features = encode(joined, [number % 2 for number in range(len(joined))], bench.tokenizer, LONGEST)
    long = replace(bench, features=features, batch_size=LONG_BATCH)
    return compare(
        f"train on texts of {features.lengths.min()} to {features.lengths.max()} tokens, batch {LONG_BATCH}, "
        "against Trainer padded to the longest of a batch, same batches",
        Bar(1.4, 2),
        lambda number: time_training(long.plain(number, steps), SKIPPED),
        lambda number: time_training(long.ours(number, steps), SKIPPED),
        rounds,
    )


def evaluation_row(bench: Bench, rounds: int, rows: int = EVALUATED) -> Row:
    """Return evaluation against the Trainer's own batches of 8, padded to 128; each round has other rows."""
    model = bench.model()
    prepare_packing(model)
    collator = DataCollatorWithPadding(bench.tokenizer, padding="max_length", max_length=PADDED_LENGTH)
    arguments = TrainingArguments(
        str(bench.folder / "plain"), report_to="none", disable_tqdm=True, dataloader_pin_memory=False
    )
    trainer = Trainer(bench.model(), arguments, data_collator=collator)

    def plain(number: int) -> float:
        part = as_dataset(cut(bench.features, number, rows), range(rows))
        started = time.process_time()
        trainer.predict(part)
        return time.process_time() - started

    def ours(number: int) -> float:
        part = cut(bench.features, number, rows)
        started = time.process_time()
        predict_logits(model, part, Packer(is_narrow=True), 64)
        return time.process_time() - started

    return compare("evaluate, against Trainer padded to 128, batch 8", Bar(9, 12), plain, ours, rounds)


def cut(features: Features, number: int, rows: int) -> Features:
    """Return some rows, others for each number until all have been taken."""
    first = number * rows % (len(features) - rows + 1)
    starts = features.starts[first : first + rows + 1]
    tokens = slice(starts[0], starts[-1])
    types = features.token_type_ids
    return Features(
        input_ids=features.input_ids[tokens],
        token_type_ids=None if types is None else types[tokens],
        starts=starts - starts[0],
        labels=features.labels[first : first + rows],
        truncated=0,
    )


class Beside(TrainerCallback):
    """A step of the raw loop after each of a trainer's, so that both see the same machine, and the time of either."""

    def __init__(self, raw: RawLoop) -> None:
        """Begin with nothing taken."""
        self.raw, self.began = raw, 0.0
        self.of_trainer: list[float] = []
        self.of_raw: list[float] = []

    def on_train_begin(self, *others: Any, **named: Any) -> None:
        """Start the clock."""
        self.began = time.process_time()

    def on_step_end(self, *others: Any, **named: Any) -> None:
        """Stop it while the raw loop takes its step."""
        ended = time.process_time()
        self.of_trainer.append(ended - self.began)
        self.raw.step()
        self.began = time.process_time()
        self.of_raw.append(self.began - ended)


def overhead_row(bench: Bench, rounds: int, steps: int) -> Row:
    """Return what our trainer takes to the raw loop, step by step in turn on the same packed batches."""

    def ratio(number: int) -> float:
        beside = Beside(RawLoop(bench, number, steps))
        trainer = bench.ours(number, steps)
        trainer.add_callback(beside)
        trainer.train()
        return sum(beside.of_trainer[SKIPPED:]) / sum(beside.of_raw[SKIPPED:])

    ratios = [ratio(number) for number in range(rounds + 1)][1:]
    return summarise(
        "our trainer / raw PyTorch loop, same packed batches", Bar(1.05, 1.02, smaller_is_better=True), ratios
    )


def peak_row(bench: Bench, rounds: int, steps: int) -> Row:
    """Return which share of a packed step its linear layers would take at this core's best, which the row's name tells."""
    model = bench.model()
    prepare_packing(model)
    shares, speeds = [], []
    for number in range(rounds):
        batches = list(bench.packed_batches(number, steps))[SKIPPED:]
        products = [product for batch in batches for product in list_products(model, batch)]
        best = {product: time_product(product) for product in set(products)}
        taken = sum(best[product] for product in products)
        speeds.append(sum(product.operations for product in products) / taken / 1e9)
        shares.append(taken / time_training(bench.ours(number, steps), SKIPPED))
    speed = f"{statistics.median(speeds):.0f} GFLOP/s"
    return summarise(f"share of the matrix-multiply peak, {speed}, that a packed step reaches", Bar(), shares)
