"""Slices: which rows they hold, and that one is flagged only when it differs from the rest beyond noise."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune.answers import Answers, build_answers
from finetune.errors import DataError
from finetune.metrics import score
from finetune.resampling import choose_resampling
from finetune.slices import compare_slices, cut_by_length, find_slices
from finetune.task import Task

TASK = Task(
    name="t", title="T", metrics=("accuracy",), primary_metric="accuracy", row_slices={"early": range(3)}, test_rows=6
)


def split_of(rows: int, source_rows: int = 6, **columns: list[str]) -> SimpleNamespace:
    examples = Dataset.from_dict({"row": [f"test/{number}" for number in range(rows)], **columns})
    return SimpleNamespace(examples=examples, source_rows=source_rows, origin="rows.tsv")


def answers_with_accuracy(rates: list[float], rows: int, seed: int = 0) -> tuple[Answers, dict[str, NDArray]]:
    """Return answers whose parts, of `rows` rows each, are right at different rates, and the parts."""
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, 2, rows * len(rates))
    right = generator.random(len(expected)) < np.repeat(rates, rows)
    predicted = np.where(right, expected, 1 - expected)
    parts = {f"part: {n}": np.arange(n * rows, (n + 1) * rows) for n in range(len(rates))}
    return build_answers(expected, np.eye(2)[predicted]), parts


def test_row_ranges_hold_for_the_published_file_only() -> None:
    lengths = np.ones(6, dtype=np.int64)
    assert find_slices(TASK, split_of(6), (), (), lengths)["early"].tolist() == [0, 1, 2]
    assert "early" not in find_slices(TASK, split_of(6, source_rows=7), (), (), lengths)


def test_each_value_of_a_column_is_a_slice_and_rows_shared_with_train_are_left_out_of_one() -> None:
    found = find_slices(TASK, split_of(4, **{"slice:topic": ["a", "b", "a", "c"]}), ("topic",), ["test/1"], np.ones(4))
    assert {name: rows.tolist() for name, rows in found.items() if ":" in name} == {
        "topic: a": [0, 2],
        "topic: b": [1],
        "topic: c": [3],
    }
    assert found["not in train"].tolist() == [0, 2, 3]


def test_a_column_with_too_many_values_is_no_set_of_slices() -> None:
    rows = split_of(101, **{"slice:id": [str(number) for number in range(101)]})
    with pytest.raises(DataError, match=r"rows\.tsv: column 'id' has 101 different values.*allows 100"):
        find_slices(TASK, rows, ("id",), (), np.ones(101))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=300))
def test_lengths_are_cut_into_at_most_ten_parts_that_hold_every_row_once(lengths: list[int]) -> None:
    parts = cut_by_length(np.array(lengths))
    assert len(parts) <= 10
    if parts:
        assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(lengths)))
        # Equal lengths stay together, and parts follow one another.
        spans = [(np.array(lengths)[rows].min(), np.array(lengths)[rows].max()) for rows in parts.values()]
        assert all(one[1] < other[0] for one, other in pairwise(spans))
    else:
        assert len(set(lengths)) == 1


def test_lengths_that_differ_make_tenths() -> None:
    parts = cut_by_length(np.arange(1000))
    assert [len(rows) for rows in parts.values()] == pytest.approx([100] * 10, abs=2)
    assert next(iter(parts)) == "tokens: 0 to 99"


def test_a_slice_that_is_much_worse_is_flagged_and_its_equals_are_not() -> None:
    answers, parts = answers_with_accuracy([0.8] * 9 + [0.5], 150, seed=1)
    tests = compare_slices("accuracy", answers, parts, choose_resampling(answers.expected))
    assert [test.is_flagged for test in tests] == [False] * 9 + [True]
    inside = score("accuracy", answers[parts["part: 9"]]).value
    outside = score("accuracy", answers[np.arange(1350)]).value
    assert inside is not None and outside is not None
    assert tests[9].difference == pytest.approx(inside - outside)
    assert (tests[9].n, tests[9].rest_n) == (150, 1350)


def test_of_many_slices_without_a_difference_hardly_ever_is_one_flagged() -> None:
    flagged = 0
    for seed in range(60):
        answers, parts = answers_with_accuracy([0.75] * 10, 60, seed)
        flagged += any(
            test.is_flagged for test in compare_slices("accuracy", answers, parts, choose_resampling(answers.expected))
        )
    # At most 5 % of 60 reports; 8 or more would happen once in 80.
    assert flagged <= 8


def test_corrected_p_values_are_holms() -> None:
    answers, parts = answers_with_accuracy([0.8, 0.7, 0.6], 100)
    tests = compare_slices("accuracy", answers, parts, choose_resampling(answers.expected))
    raw = sorted(test.p_value for test in tests if test.p_value is not None)
    adjusted = sorted(test.p_adjusted for test in tests if test.p_adjusted is not None)
    assert adjusted[0] == pytest.approx(min(1.0, 3 * raw[0]))


def test_a_slice_of_few_rows_or_one_label_is_undefined_and_says_why() -> None:
    answers, _ = answers_with_accuracy([0.8], 100)
    parts = {"few": np.arange(5), "one label": np.flatnonzero(answers.expected == 1)}
    few, single = compare_slices("matthews_correlation", answers, parts, choose_resampling(answers.expected))
    assert (few.difference, few.p_value, few.reason) == (None, None, "fewer than 10 rows")
    assert (single.difference, single.is_flagged, single.reason) == (None, False, "only one class in the labels")


def test_where_rows_come_in_groups_whole_groups_make_the_noise() -> None:
    # Twenty groups of 20 like rows, right or wrong together: ten of them in the slice.
    right = np.repeat([True] * 8 + [False] * 2 + [True] * 5 + [False] * 5, 20)
    expected = np.random.default_rng(0).integers(0, 2, 400)
    answers = build_answers(expected, np.eye(2)[np.where(right, expected, 1 - expected)])
    groups = [str(number // 20) for number in range(400)]
    inside = {"half": np.arange(200)}
    by_rows = compare_slices("accuracy", answers, inside, choose_resampling(expected))[0].p_value
    by_groups = compare_slices("accuracy", answers, inside, choose_resampling(expected, groups))[0].p_value
    assert by_rows is not None and by_groups is not None
    assert by_rows < 0.001 and by_groups > 0.1
