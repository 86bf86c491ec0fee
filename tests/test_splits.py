"""Cutting rows: groups stay whole, labels keep their share, and the seed alone decides."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data_checks import normalise
from finetune.errors import DataError
from finetune.row_store import keep_rows
from finetune.splits import choose_carved, draw_rows

fractions = st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.9])
seeds = st.integers(0, 2**32)


@st.composite
def examples(draw: st.DrawFn) -> Dataset:
    """Return rows with a text (some of them equal), a label, and sometimes a group."""
    rows = draw(st.integers(1, 200))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    texts = generator.integers(0, draw(st.sampled_from([2, 50, 10_000])), rows)
    shapes = np.array(["text {}", "Text  {}", " TEXT {} "])[generator.integers(0, 3, rows)]
    columns: dict[str, list] = {
        "row": [f"train/{number}" for number in range(rows)],
        "text": [str(shape).format(number) for shape, number in zip(shapes, texts, strict=True)],
        "label": generator.integers(0, draw(st.integers(1, 30)), rows).tolist(),
    }
    if draw(st.booleans()):
        columns["group"] = [f"group {number}" for number in generator.integers(0, draw(st.integers(1, 60)), rows)]
    return Dataset.from_dict(columns)


def groups_of(rows: Dataset) -> list[str]:
    return list(rows["group"]) if "group" in rows.column_names else [normalise(text) for text in rows["text"]]


def carve(rows: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    is_carved = choose_carved(rows, fraction, seed)
    return keep_rows(rows, ~is_carved), keep_rows(rows, is_carved)


@given(examples(), fractions, seeds)
@settings(max_examples=60, deadline=None)
def test_carving_parts_rows_and_never_a_group(rows: Dataset, fraction: float, seed: int) -> None:
    try:
        kept, carved = carve(rows, fraction, seed)
    except DataError as error:
        assert str(error).endswith(f"too few to carve {fraction:.0%} of them out")
        return
    assert len(kept) and len(carved)
    assert sorted([*kept["row"], *carved["row"]]) == sorted(rows["row"])
    assert not set(groups_of(kept)) & set(groups_of(carved))
    for part in (kept, carved):
        numbers = [int(row.partition("/")[2]) for row in part["row"]]
        assert numbers == sorted(numbers), "file order was lost"
        assert [rows[number] for number in numbers] == list(part), "a cell was altered"


@given(examples(), fractions, seeds)
@settings(max_examples=60, deadline=None)
def test_the_carved_share_is_near_what_was_asked(rows: Dataset, fraction: float, seed: int) -> None:
    sizes = Counter(groups_of(rows))
    labels = len(set(rows["label"]))
    try:
        carved = len(carve(rows, fraction, seed)[1])
    except DataError:
        carved = 0
    # One group of each label stays in train, whatever the share.
    assert carved <= fraction * len(rows) + max(sizes.values())
    assert carved >= fraction * len(rows) - (labels + 1) * max(sizes.values())
    if fraction <= 0.5 and len(sizes) >= 4 * labels and max(sizes.values()) == 1:
        assert abs(carved - fraction * len(rows)) <= 1


@given(examples(), fractions, seeds)
@settings(max_examples=30, deadline=None)
def test_the_same_seed_carves_the_same_rows(rows: Dataset, fraction: float, seed: int) -> None:
    try:
        first = carve(rows, fraction, seed)
    except DataError:
        return
    again = carve(rows, fraction, seed)
    assert [list(part["row"]) for part in first] == [list(part["row"]) for part in again]


def rows_of(labels: list[int], **columns: list) -> Dataset:
    texts = [f"text {number}" for number in range(len(labels))]
    return Dataset.from_dict({"row": texts, "text": texts, "label": labels, **columns})


def test_another_seed_carves_other_rows() -> None:
    rows = rows_of([0, 1] * 100)
    assert len({tuple(carve(rows, 0.1, seed)[1]["row"]) for seed in range(5)}) == 5


def test_every_label_loses_its_share() -> None:
    carved = carve(rows_of([0] * 300 + [1] * 100 + [2] * 40), 0.1, 0)[1]
    assert Counter(carved["label"]) == {0: 30, 1: 10, 2: 4}


def test_many_small_classes_together_lose_their_share() -> None:
    kept, carved = carve(rows_of(sorted(list(range(40)) * 4)), 0.1, 0)
    assert len(carved) == 16
    assert set(kept["label"]) == set(range(40)), "a label vanished from train"


def test_the_only_row_of_a_label_stays_in_train() -> None:
    for seed in range(20):
        kept, carved = carve(rows_of([0] * 16 + [1]), 0.5, seed)
        assert 1 in kept["label"]
        assert len(carved) == 8
        assert 1 in carve(rows_of([0] * 16 + [1]), 0.9, seed)[0]["label"]


def test_stated_groups_stay_whole_even_where_the_texts_differ() -> None:
    rows = rows_of([0, 1] * 50, group=[str(number // 4) for number in range(100)])
    kept, carved = carve(rows, 0.1, 0)
    assert not set(kept["group"]) & set(carved["group"])
    assert len(carved) in (8, 12)


@pytest.mark.parametrize(
    ("labels", "texts", "message"),
    [
        ([0, 1], ["a", "b"], r"^2 rows in 2 groups are too few to carve 10% of them out$"),
        ([0, 1] * 20, ["a", "A "] * 20, r"^40 rows in 1 groups are too few to carve 10% of them out$"),
    ],
)
def test_too_few_rows_to_carve_say_how_many_there_are(labels: list[int], texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        carve(rows_of(labels, text=texts), 0.1, 0)


def test_carving_long_texts_needs_no_more_memory_than_the_texts() -> None:
    rows = rows_of([0, 1] * 2_000, text=[f"{number} {'x' * 50_000 * (number == 0)}" for number in range(4_000)])
    tracemalloc.start()
    carve(rows, 0.1, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20, "the longest text was paid for in every row"


@given(examples(), st.integers(1, 250), seeds)
@settings(max_examples=30, deadline=None)
def test_drawn_rows_are_distinct_unaltered_and_in_file_order(rows: Dataset, count: int, seed: int) -> None:
    drawn = draw_rows(rows, count, seed)
    numbers = [int(row.partition("/")[2]) for row in drawn["row"]]
    assert len(numbers) == min(count, len(rows))
    assert numbers == sorted(set(numbers))
    assert list(draw_rows(rows, count, seed)["row"]) == list(drawn["row"])
    assert [rows[number] for number in numbers] == list(drawn)


# Rows without classes


def rows_with(texts: list[str], labels: list | None = None) -> Dataset:
    columns: dict[str, list] = {"row": [f"train/{n}" for n in range(len(texts))], "text": texts}
    return Dataset.from_dict(columns | ({} if labels is None else {"label": labels}))


def test_numbers_are_carved_evenly_over_their_fifths() -> None:
    numbers = (np.random.default_rng(0).permutation(1000) / 100.0).tolist()
    kept, carved = carve(rows_with([f"text {n}" for n in range(1000)], numbers), 0.1, seed=0)
    assert len(kept) == 900
    assert np.histogram(carved["label"], bins=[0, 2, 4, 6, 8, 10])[0].tolist() == [20] * 5


def test_numbers_of_which_most_are_equal_are_carved_too() -> None:
    _, carved = carve(rows_with([f"text {n}" for n in range(100)], [1.0] * 90 + [2.5] * 10), 0.1, seed=0)
    assert 8 <= len(carved) <= 12


@pytest.mark.parametrize("labels", [None, [[n % 2, 1] for n in range(300)]])
@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_text_never_part_where_rows_have_several_labels_or_none(labels: list | None, seed: int) -> None:
    rows = rows_with([f"{'Text' if n % 2 else ' text'} {n // 3}" for n in range(300)], labels)
    kept, carved = carve(rows, 0.1, seed)
    assert len(kept) + len(carved) == 300
    assert 27 <= len(carved) <= 33
    assert not {normalise(text) for text in kept["text"]} & {normalise(text) for text in carved["text"]}
