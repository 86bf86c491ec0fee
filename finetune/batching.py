"""Which rows go through the model together, and how they become tensors.

Owns batch order, its cut over processes and accumulation steps, and padding; batches without any are `packing`. The composition of a
batch of examples depends on the rows, the seed and the epoch alone, never on how many processes or steps it is cut into.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows
from finetune.recipe_sections import Batching

# Rows are sorted by length within blocks of this many batches: long enough for near-zero padding, short enough for chance.
# Small data has at least four blocks, or each batch would meet the same rows again in every epoch.
BATCHES_A_BLOCK, FEWEST_BLOCKS = 50, 4
# Tokens, padding included, of one evaluation forward pass: keeps long texts within memory.
EVALUATION_TOKENS = 16_384


@dataclass(frozen=True)
class BatchPlan:
    """How a batch is cut: `examples = processes × accumulation × micro`, or about `tokens` whose rows the processes share.

    Attributes:
        tokens: of a batch, whose number of examples varies; None where `examples` says how many there are.
    """

    examples: int
    processes: int
    accumulation: int
    micro: int
    tokens: int | None = None

    def count_batches(self, lengths: NDArray[np.integer]) -> int:
        """Return the batches of an epoch of rows, of which `lengths` (rows,) says how many tokens each has; the same in all epochs."""
        if self.tokens is None:
            return -(-len(lengths) // self.examples)
        return min(len(lengths), -(-int(lengths.sum()) // self.tokens))


def plan_batch(
    batch_size: int, micro_batch_size: int | None, processes: int, batch_tokens: int | None = None
) -> BatchPlan:
    """Return how the batch is cut.

    Raises:
        RecipeError: it does not divide; the message shows the arithmetic.
    """
    if batch_tokens is not None:
        if micro_batch_size is not None:
            raise SettingError(
                "train.micro_batch_size", "a batch of train.batch_tokens isn't accumulated; state one of the two"
            )
        return BatchPlan(batch_size, processes, 1, -(-batch_size // processes), batch_tokens)
    if batch_size % processes:
        raise SettingError(
            "train.batch_size",
            f"{batch_size} examples do not divide over {processes} processes "
            f"({batch_size} / {processes} = {batch_size / processes:g})",
        )
    share = batch_size // processes
    micro = micro_batch_size or share
    if share % micro:
        raise SettingError(
            "train.micro_batch_size",
            f"{batch_size} examples / {processes} processes = {share} a process, "
            f"which do not divide into micro-batches of {micro} ({share} / {micro} = {share / micro:g})",
        )
    return BatchPlan(batch_size, processes, share // micro, micro)


class Slot(NamedTuple):
    """A row's place in a micro-batch; a filler keeps a process in step and counts for nothing.

    What is drawn for a row, such as masks, follows from seed, epoch and number alone, however a batch is cut.
    """

    number: int
    is_filler: bool = False
    epoch: int = 0
    seed: int = 0


@dataclass
class TrainBatches:
    """Yield this process's micro-batches of an epoch, as lists of slots.

    Every epoch shows each row exactly once over all processes. `epoch` is set by the data loader before each pass.
    """

    lengths: NDArray[np.int64]
    plan: BatchPlan
    batching: Batching
    seed: int
    process: int
    epoch: int = field(default=0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of micro-batches a process sees in an epoch."""
        return self.plan.count_batches(self.lengths) * self.plan.accumulation

    def __iter__(self) -> Iterator[list[Slot]]:
        """Go through the micro-batches of this process."""
        for batch in order_batches(self.lengths, self.plan, self.batching, self.seed, self.epoch):
            shares = self._cut(batch)
            for step in range(self.plan.accumulation):
                share = shares[step * self.plan.processes + self.process] or [Slot(int(batch[0]), is_filler=True)]
                yield [slot._replace(epoch=self.epoch, seed=self.seed) for slot in share]

    def _cut(self, batch: NDArray[np.int64]) -> list[list[Slot]]:
        """Return the rows of every process in every accumulation step; the smaller batch at the end may leave some without."""
        count = self.plan.accumulation * self.plan.processes
        if self.batching == "packed" or self.plan.tokens is not None:
            return [[Slot(int(batch[place])) for place in share] for share in share_tokens(self.lengths[batch], count)]
        return [[Slot(int(number)) for number in share] for share in np.array_split(batch, count)]


def order_batches(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch as row numbers: (examples,) each but for one smaller batch at the end, or about `plan.tokens`."""
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    count, size = plan.count_batches(lengths), plan.examples
    if plan.tokens is not None:
        if batching == "grouped":
            order = _sort_in_blocks(lengths, order, -(-len(order) // count), count)
        batches = cut_by_tokens(lengths, order, count)
        return [batches[number] for number in generator.permutation(count)]
    if batching != "grouped":
        return np.split(order, range(size, len(order), size))
    # The smaller batch at the end is drawn before sorting, so that it isn't always the longest rows.
    whole, rest = np.split(order, [len(order) // size * size])
    whole = _sort_in_blocks(lengths, whole, size, len(whole) // size).reshape(-1, size)
    return [*whole[generator.permutation(len(whole))], *([rest] if len(rest) else [])]


def _sort_in_blocks(lengths: NDArray[np.int64], order: NDArray[np.int64], size: int, count: int) -> NDArray[np.int64]:
    """Return the rows sorted by length within blocks of some of the `count` batches of about `size` rows."""
    block = size * min(BATCHES_A_BLOCK, max(1, count // FEWEST_BLOCKS))
    # A stable sort of shuffled rows: rows of one length stay in random order.
    blocks = [
        part[np.argsort(lengths[part], kind="stable")] for part in np.split(order, range(block, len(order), block))
    ]
    return np.concatenate(blocks)


def cut_by_tokens(lengths: NDArray[np.int64], order: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return the rows, in their order, as `count` batches of about as many tokens, none of them empty.

    A row goes where its middle lies, so that a batch has at most half a row more at either end than its share.
    """
    ends = np.cumsum(lengths[order])
    middles = ends - lengths[order] / 2
    first = np.searchsorted(middles, ends[-1] * np.arange(1, count) / count)
    # Rows longer than a share may leave the next one without any: each takes at least one.
    number = np.arange(1, count)
    first = np.clip(np.maximum.accumulate(first - number) + number, number, len(order) - count + number)
    return np.split(order, first)


def share_tokens(lengths: NDArray[np.int64], count: int) -> list[list[int]]:
    """Return which of the rows, of these lengths, go into each of `count` shares, the longest first, so that all have about as many tokens.

    Each row, the longest first, goes where there are fewest so far: the fullest share is at most 4/3 of what is possible (Graham 1969).
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    fewest = [(0, share) for share in range(count)]
    heapify(fewest)
    for row in np.argsort(-lengths, kind="stable").tolist():
        tokens, share = fewest[0]
        shares[share].append(row)
        heapreplace(fewest, (tokens + int(lengths[row]), share))
    return shares


def order_for_evaluation(
    lengths: NDArray[np.int64], size: int, most_tokens: int = EVALUATION_TOKENS
) -> list[NDArray[np.int64]]:
    """Return batches of row numbers, longest first, at most `size` rows and `most_tokens` tokens each, or one longer row."""
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        rows = int(np.clip(most_tokens // max(int(lengths[order[begin]]), 1), 1, size))
        batches.append(order[begin : begin + rows])
        begin += rows
    return batches


class Layout(Protocol):
    """How rows become tensors."""

    def __call__(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return the tensors that a model takes, with labels, weights and counts."""
        ...

    def lay_out(self, rows: Sequence[NDArray[Any]], filling: int) -> torch.Tensor:
        """Return whole numbers that belong to the tokens of rows, (tokens,) each, as the tokens themselves are laid out."""
        ...


@dataclass(frozen=True)
class Collator:
    """Turn rows into tensors, padded on the right to the longest of them.

    Right padding is exact for every architecture: absolute positions count from the first real token, and a decoder's classifier
    reads the last token that isn't padding. What side the checkpoint's tokenizer would pad on plays no part.

    Attributes:
        pad_to: pad every batch to this length instead (a baseline for measurements).
    """

    pad_token_id: int
    pad_to: int | None = None

    def __call__(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask, maybe token_type_ids (batch, tokens); labels and weights (batch, ...); counts.

        A row weighs 1, a filler 0.
        """
        encoded = [row for row, _ in rows]
        batch = {
            "input_ids": self.lay_out([row.input_ids for row in encoded], self.pad_token_id),
            "attention_mask": self.lay_out([np.ones(len(row.input_ids)) for row in encoded], 0),
            "labels": torch.tensor(np.array([row.label for row in encoded])),
            "weights": torch.tensor([0.0 if slot.is_filler else 1.0 for _, slot in rows]),
            **count_batch(rows),
        }
        types = [row.token_type_ids for row in encoded if row.token_type_ids is not None]
        if types:
            batch["token_type_ids"] = self.lay_out(types, 0)
        return batch

    def lay_out(self, rows: Sequence[NDArray[Any]], filling: int) -> torch.Tensor:
        """Return what belongs to the tokens of rows, (tokens,) each, as one (batch, tokens), filled up on the right."""
        padded = np.full((len(rows), self.pad_to or max(map(len, rows))), filling, dtype=np.int64)
        for number, row in enumerate(rows):
            padded[number, : len(row)] = row
        return torch.from_numpy(padded)


def count_batch(rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, torch.Tensor]:
    """Return how many rows and real tokens a micro-batch has, fillers left out."""
    real = [len(row.input_ids) for row, slot in rows if not slot.is_filler]
    return {"example_count": torch.tensor(len(real)), "token_count": torch.tensor(sum(real))}


@dataclass(frozen=True)
class SlotDataset(Dataset[tuple[EncodedRow, Slot]]):
    """Features looked up by slot, so that a data loader can carry fillers."""

    features: FeatureRows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)

    def __getitem__(self, index: Slot) -> tuple[EncodedRow, Slot]:
        """Return the row of a slot, and the slot."""
        return self.features[index.number], index
