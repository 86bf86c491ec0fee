"""Batches: every row once an epoch, cut the same way by every number of processes, and next to no padding."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune.batching import (
    EVALUATION_TOKENS,
    BatchPlan,
    Collator,
    Slot,
    SlotDataset,
    TrainBatches,
    order_batches,
    order_for_evaluation,
    plan_batch,
    share_tokens,
)
from finetune.errors import RecipeError
from finetune.features import EncodedRow, Features

KINDS = st.sampled_from(["packed", "grouped", "padded"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def row_lengths(draw: st.DrawFn) -> NDArray[np.int64]:
    rows = draw(st.integers(1, 200))
    return np.random.default_rng(draw(st.integers(0, 2**16))).integers(1, draw(st.sampled_from([2, 60])), rows)


@st.composite
def plans(draw: st.DrawFn) -> BatchPlan:
    """Return a batch of 1 to 32 examples, cut by a micro-batch size that divides it."""
    processes, examples = draw(st.integers(1, 4)), draw(st.integers(1, 32))
    assume(examples % processes == 0)
    share = examples // processes
    micro = draw(st.sampled_from([None, *(size for size in range(1, share + 1) if share % size == 0)]))
    return plan_batch(examples, micro, processes)


def steps_of(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int, epoch: int = 0
) -> list[list[list[Slot]]]:
    """Return the micro-batches of each optimizer step, over all processes."""
    per_process = []
    for process in range(plan.processes):
        batches = TrainBatches(lengths, plan, batching, seed, process)  # type: ignore[arg-type]
        batches.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches), "the length promised is not the length yielded"
        per_process.append(
            [found[begin : begin + plan.accumulation] for begin in range(0, len(found), plan.accumulation)]
        )
    return [list(chain.from_iterable(shares)) for shares in zip(*per_process, strict=True)]


def numbers_of(step: list[list[Slot]]) -> list[int]:
    return sorted(slot.number for micro in step for slot in micro if not slot.is_filler)


@given(row_lengths(), plans(), KINDS, SEEDS, st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_every_epoch_shows_each_row_exactly_once(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int, epoch: int
) -> None:
    steps = steps_of(lengths, plan, batching, seed, epoch)
    assert sorted(chain.from_iterable(map(numbers_of, steps))) == list(range(len(lengths)))
    assert len(steps) == -(-len(lengths) // plan.examples)


@given(row_lengths(), plans(), KINDS, SEEDS)
@settings(max_examples=80, deadline=None)
def test_a_batch_of_examples_is_the_same_however_it_is_cut(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int
) -> None:
    cut = steps_of(lengths, plan, batching, seed)
    whole = steps_of(lengths, BatchPlan(plan.examples, 1, 1, plan.examples), batching, seed)
    assert list(map(numbers_of, cut)) == list(map(numbers_of, whole))
    assert [len(numbers_of(step)) for step in cut[:-1]] == [plan.examples] * (len(cut) - 1)


@given(row_lengths(), plans(), KINDS, SEEDS)
@settings(max_examples=80, deadline=None)
def test_shares_are_never_empty_nor_larger_than_planned_and_fillers_stand_alone(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int
) -> None:
    for step in steps_of(lengths, plan, batching, seed):
        assert len(step) == plan.processes * plan.accumulation
        for micro in step:
            # Packed batches are shared out by tokens, so their rows are as many on average.
            assert 1 <= len(micro) <= (plan.examples if batching == "packed" else plan.micro)
            assert len(micro) == 1 or not any(slot.is_filler for slot in micro)


@given(row_lengths(), plans(), KINDS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_order_depends_on_seed_and_epoch_alone(
    lengths: NDArray[np.int64], plan: BatchPlan, batching: str, seed: int
) -> None:
    assert steps_of(lengths, plan, batching, seed, 3) == steps_of(lengths, plan, batching, seed, 3)


@pytest.mark.parametrize("batching", ["grouped", "padded"])
def test_another_epoch_or_seed_has_another_order(batching: str) -> None:
    lengths = np.random.default_rng(0).integers(4, 40, 500)
    plan = plan_batch(16, None, 1)
    orders = [steps_of(lengths, plan, batching, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0), (2, 1))]
    assert all(orders[one] != orders[other] for one in range(4) for other in range(one))


def test_grouped_batches_differ_in_their_rows_not_only_in_their_order() -> None:
    lengths = np.random.default_rng(0).integers(4, 40, 2000)
    first, second = (
        {tuple(sorted(b)) for b in order_batches(lengths, plan_batch(16, None, 1), "grouped", 1, epoch)}
        for epoch in (0, 1)
    )
    assert not first & second


def cola_like_lengths(rows: int = 8551) -> NDArray[np.int64]:
    """Return lengths as BERT's tokens of CoLA have them: 11 on average, a long tail up to 47."""
    drawn = np.random.default_rng(0).lognormal(2.3, 0.42, rows).round().astype(np.int64)
    return np.clip(drawn, 4, 47)


def padding_share(lengths: NDArray[np.int64], batches: list[NDArray[np.int64]]) -> float:
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    return 1 - int(lengths.sum()) / padded


@pytest.mark.parametrize("size", [16, 32])
def test_grouped_batches_pad_little_and_keep_their_size_in_examples(size: int) -> None:
    lengths = cola_like_lengths()
    grouped = order_batches(lengths, plan_batch(size, None, 1), "grouped", 1, 0)
    assert {len(batch) for batch in grouped[:-1]} == {size}
    assert padding_share(lengths, grouped) < 0.08
    assert padding_share(lengths, order_batches(lengths, plan_batch(size, None, 1), "padded", 1, 0)) > 0.3


def test_grouped_batches_do_not_come_sorted_by_length() -> None:
    lengths = cola_like_lengths(1600)
    widths = [
        int(lengths[batch].max()) for batch in order_batches(lengths, plan_batch(16, None, 1), "grouped", 1, 0)[:-1]
    ]
    assert abs(np.corrcoef(widths, range(len(widths)))[0, 1]) < 0.4


@given(row_lengths(), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_evaluation_covers_every_row_once_longest_first(lengths: NDArray[np.int64], size: int) -> None:
    batches = order_for_evaluation(lengths, size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert np.all(np.diff(lengths[np.concatenate(batches)]) <= 0)


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_evaluation_keeps_to_its_budget_of_tokens(lengths: list[int]) -> None:
    for batch in order_for_evaluation(np.array(lengths), 64):
        padded = max(lengths[number] for number in batch) * len(batch)
        assert padded <= EVALUATION_TOKENS or len(batch) == 1


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ((32, None, 1), BatchPlan(32, 1, 1, 32)),
        ((32, 8, 1), BatchPlan(32, 1, 4, 8)),
        ((32, 8, 2), BatchPlan(32, 2, 2, 8)),
        ((32, None, 4), BatchPlan(32, 4, 1, 8)),
    ],
)
def test_a_batch_is_cut_over_processes_then_accumulation(arguments: tuple, plan: BatchPlan) -> None:
    assert plan_batch(*arguments) == plan
    assert plan.examples == plan.processes * plan.accumulation * plan.micro


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((32, None, 3), "train.batch_size: 32 examples do not divide over 3 processes (32 / 3 = 10.6667)"),
        ((1, None, 2), "train.batch_size: 1 examples do not divide over 2 processes (1 / 2 = 0.5)"),
        (
            (32, 5, 2),
            "train.micro_batch_size: 32 examples / 2 processes = 16 a process, "
            "which do not divide into micro-batches of 5 (16 / 5 = 3.2)",
        ),
        (
            (8, 16, 1),
            "train.micro_batch_size: 8 examples / 1 processes = 8 a process, "
            "which do not divide into micro-batches of 16 (8 / 16 = 0.5)",
        ),
    ],
)
def test_a_batch_that_does_not_divide_shows_the_arithmetic(arguments: tuple, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_batch(*arguments)
    assert caught.value.problems == [message]


def test_the_last_batch_is_shared_out_evenly() -> None:
    plan = plan_batch(16, 4, 2)

    def counts(rows: int) -> list[tuple[int, int]]:
        """Return how many rows and fillers each process has in each accumulation step."""
        shares = [list(TrainBatches(np.full(rows, 5), plan, "padded", 1, process)) for process in range(2)]
        micros = [shares[process][step] for step in range(2) for process in range(2)]
        return [(sum(not slot.is_filler for slot in micro), sum(slot.is_filler for slot in micro)) for micro in micros]

    assert counts(10) == [(3, 0), (3, 0), (2, 0), (2, 0)]
    assert counts(1) == [(1, 0), (0, 1), (0, 1), (0, 1)]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_shares_of_a_packed_batch_hold_about_as_many_tokens(lengths: list[int], count: int) -> None:
    shares = share_tokens(np.array(lengths), count)
    assert sorted(row for share in shares for row in share) == list(range(len(lengths)))
    tokens = [sum(lengths[row] for row in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths)


def row(tokens: int, label: int = 0, *, has_types: bool = False) -> EncodedRow:
    ids = np.arange(5, 5 + tokens, dtype=np.int32)
    return EncodedRow(ids, np.ones(tokens, dtype=np.int32) if has_types else None, label)


def in_slots(*rows: EncodedRow) -> list[tuple[EncodedRow, Slot]]:
    return [(row, Slot(number)) for number, row in enumerate(rows)]


def test_rows_are_padded_on_the_right_to_the_longest_of_the_batch() -> None:
    batch = Collator(pad_token_id=3)(in_slots(row(2, has_types=True), row(4, 1, has_types=True)))
    assert batch["input_ids"].tolist() == [[5, 6, 3, 3], [5, 6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["token_type_ids"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [0, 1]
    assert batch["weights"].tolist() == [1.0, 1.0]
    assert {tensor.dtype for name, tensor in batch.items() if name != "weights"} == {torch.int64}


def test_a_checkpoint_without_token_types_gets_none() -> None:
    assert "token_type_ids" not in Collator(0)(in_slots(row(2)))


def test_every_batch_can_be_padded_to_one_length() -> None:
    assert Collator(0, pad_to=10)(in_slots(row(2), row(4)))["input_ids"].shape == (2, 10)


def test_fillers_count_for_nothing() -> None:
    rows = [(row(2, 0), Slot(0)), (row(3, 1), Slot(1)), (row(2, 1), Slot(1, is_filler=True))]
    batch = Collator(0)(rows)
    assert batch["weights"].tolist() == [1.0, 1.0, 0.0]
    assert (int(batch["example_count"]), int(batch["token_count"])) == (2, 5)


@given(row_lengths(), plans(), SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_weights_of_a_step_add_up_to_its_rows(lengths: NDArray[np.int64], plan: BatchPlan, seed: int) -> None:
    starts = np.concatenate(([0], np.cumsum(lengths)))
    tokens = np.ones(starts[-1], dtype=np.int32)
    rows = SlotDataset(Features(tokens, None, starts, np.zeros(len(lengths), dtype=np.int64), 0))
    assert len(rows) == len(lengths)
    collate = Collator(0)
    steps = steps_of(lengths, plan, "grouped", seed)
    weights = [sum(float(collate([rows[slot] for slot in micro])["weights"].sum()) for micro in step) for step in steps]
    assert weights == [len(numbers_of(step)) for step in steps]
    assert sum(weights) == len(lengths)


# A budget of tokens


@st.composite
def budgets(draw: st.DrawFn) -> tuple[NDArray[np.int64], BatchPlan]:
    """Return the lengths of rows and a plan of about as many tokens a batch, which holds the longest of them."""
    lengths = draw(row_lengths())
    longest = int(lengths.max())
    tokens = draw(st.integers(longest, longest * 40))
    return lengths, plan_batch(32, None, draw(st.integers(1, 4)), tokens)


@given(budgets(), st.sampled_from(["packed", "grouped"]), SEEDS, st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_batches_of_a_token_budget_hold_about_as_many_and_show_each_row_once(
    found: tuple[NDArray[np.int64], BatchPlan], batching: str, seed: int, epoch: int
) -> None:
    lengths, plan = found
    assert plan.tokens is not None
    batches = order_batches(lengths, plan, batching, seed, epoch)
    assert len(batches) == plan.count_batches(lengths) and all(len(batch) for batch in batches)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    # Half a row at either end, and where rows are longer than a share, one that each batch gets.
    assert max(lengths[batch].sum() for batch in batches) <= plan.tokens + lengths.max()
    cut = steps_of(lengths, plan, batching, seed, epoch)
    assert list(map(numbers_of, cut)) == [sorted(batch.tolist()) for batch in batches]
    assert all(len(step) == plan.processes for step in cut)


def test_processes_share_a_token_budget_evenly() -> None:
    lengths = cola_like_lengths()
    plan = plan_batch(32, None, 4, 2048)
    for batching in ("packed", "grouped"):
        steps = steps_of(lengths, plan, batching, 1)
        shares = np.array([[sum(lengths[slot.number] for slot in micro) for micro in step] for step in steps])
        assert abs(shares.sum(axis=1) - 2048).max() < 60
        assert (shares.max(axis=1) - shares.min(axis=1)).max() <= lengths.max()
    grouped, random = (
        padding_share(lengths, order_batches(lengths, plan, kind, 1, 0)) for kind in ("grouped", "packed")
    )
    assert grouped < 0.25 < 0.5 < random, "rows of like length share a batch"


def test_a_token_budget_is_not_accumulated() -> None:
    with pytest.raises(RecipeError, match=r"train\.micro_batch_size"):
        plan_batch(32, 8, 1, 2048)
