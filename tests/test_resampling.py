"""finetune.resampling: what is drawn has the distribution of rows drawn one by one, of scipy's tests and of full enumeration."""

import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.answers import Answers, build_answers
from finetune.metrics import score
from finetune.resampling import (
    BY_GROUPS,
    BY_ROWS,
    WITHIN_CLASSES,
    Resampling,
    bootstrap_values,
    choose_resampling,
    randomisation_differences,
    slice_differences,
)
from tests.made_answers import CLASS_METRICS, answer, answer_alike, make_answers, metrics_for

OF_ONE_KIND_EACH = ("accuracy", "matthews_correlation", "macro_f1", "log_loss")
"""Metrics drawn as counts and as rows; the others differ from one of these in the formula only."""

LOOPS = 400
"""Resamples of the slow oracles; at this number the test of two distributions sees a shift of a third of a standard deviation."""


def value_of(name: str, answers: Answers) -> float:
    """Return a metric that must be defined here."""
    value = score(name, answers).value
    assert value is not None
    return value


def same_distribution(ours: np.ndarray, oracle: np.ndarray) -> bool:
    """Say whether two samples may come from one distribution: Kolmogorov and Smirnov's test at one in a thousand."""
    # Rounded, since equal values that differ in the last digit would not be tied.
    return scipy.stats.ks_2samp(np.round(ours, 10), np.round(oracle, 10)).pvalue > 0.001


def rows_of(rows: int) -> Resampling:
    """Return plain resampling of so many rows."""
    return Resampling(BY_ROWS, (np.arange(rows),))


@pytest.mark.parametrize("classes", [2, 3])
def test_bootstrap_values_are_distributed_like_the_metrics_of_rows_drawn_one_by_one(classes: int) -> None:
    answers, generator = make_answers(120, classes, digits=1), np.random.default_rng(1)
    ours = bootstrap_values(OF_ONE_KIND_EACH, [answers], rows_of(120), 1500)
    chosen = generator.integers(0, 120, (LOOPS, 120))
    for name in OF_ONE_KIND_EACH:
        oracle = np.array([value_of(name, answers[rows]) for rows in chosen])
        assert same_distribution(ours[name][0], oracle), name
        assert not same_distribution(ours[name][0], oracle + oracle.std() / 3), f"{name}: the check sees no shift"


def test_stratified_values_are_distributed_like_rows_drawn_within_each_class() -> None:
    expected = np.repeat([0, 1, 2], [150, 40, 12])
    answers = answer(expected, 3, np.random.default_rng(0), digits=1)
    resampling = choose_resampling(expected)
    assert (resampling.description, [len(stratum) for stratum in resampling.strata]) == (WITHIN_CLASSES, [150, 40, 12])
    ours = bootstrap_values(OF_ONE_KIND_EACH, [answers], resampling, 1500)
    generator = np.random.default_rng(1)
    chosen = [
        np.concatenate(
            [generator.choice(np.flatnonzero(expected == label), (expected == label).sum()) for label in range(3)]
        )
        for _ in range(LOOPS)
    ]
    for name in OF_ONE_KIND_EACH:
        assert same_distribution(ours[name][0], np.array([value_of(name, answers[rows]) for rows in chosen])), name


@pytest.mark.parametrize("name", ["recall", "roc_auc"])
def test_no_stratified_resample_loses_a_rare_class(name: str) -> None:
    expected = np.array([1] * 6 + [0] * 200)
    answers = answer(expected, 2, np.random.default_rng(0))
    stratified = bootstrap_values([name], [answers], choose_resampling(expected), 2000)[name]
    plain = bootstrap_values([name], [answers], rows_of(206), 2000)[name]
    assert not np.isnan(stratified).any()
    assert np.isnan(plain).any()


def test_strata_that_cut_across_equal_answers_are_kept_apart() -> None:
    # 18 of 20 rows are right in one stratum and 2 of 20 in the other; drawn together they would vary nearly three times as much.
    predicted = np.array([0] * 18 + [1] * 2 + [0] * 2 + [1] * 18)
    answers = build_answers([0] * 40, np.eye(2)[predicted])
    resampling = Resampling("halves", (np.arange(20), np.arange(20, 40)))
    for values in bootstrap_values(["accuracy", "brier"], [answers], resampling, 3000).values():
        assert values.var() == pytest.approx(2 * 20 * 0.9 * 0.1 / 40**2, rel=0.1)


def test_group_values_are_distributed_like_whole_groups_drawn_one_by_one() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 30, 150)
    # Rows of a group are answered alike, so that rows drawn by themselves would vary much less.
    is_right = generator.random(30)[groups] < 0.7
    expected = generator.integers(0, 2, 150)
    answers = build_answers(expected, np.where((expected == is_right)[:, np.newaxis], [0.3, 0.7], [0.8, 0.2]))
    resampling = choose_resampling(expected, [f"g{group}" for group in groups])
    assert (resampling.description, resampling.units) == (BY_GROUPS, len(np.unique(groups)))
    ours = bootstrap_values(OF_ONE_KIND_EACH, [answers], resampling, 1500)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    chosen = [
        np.concatenate([members[group] for group in generator.integers(0, len(members), len(members))])
        for _ in range(LOOPS)
    ]
    for name in OF_ONE_KIND_EACH:
        oracle = np.array([value_of(name, answers[rows]) for rows in chosen])
        assert same_distribution(ours[name][0], oracle), name
        by_row = bootstrap_values([name], [answers], rows_of(150), 1500)[name][0]
        assert by_row.std() < 0.75 * oracle.std(), name


@pytest.mark.parametrize("name", ["accuracy", "matthews_correlation", "roc_auc", "brier"])
def test_differences_of_two_models_are_those_on_the_same_rows(name: str) -> None:
    first = make_answers(150)
    second = answer_alike(first, seed=1)
    ours = bootstrap_values([name], [first, second], rows_of(150), 1500)[name]
    generator = np.random.default_rng(2)
    chosen = generator.integers(0, 150, (LOOPS, 150))
    oracle = np.array([value_of(name, second[rows]) - value_of(name, first[rows]) for rows in chosen])
    assert same_distribution(ours[1] - ours[0], oracle)
    # Values of different resamples would differ more.
    assert (ours[1] - ours[0]).std() < 0.9 * (ours[1] - np.roll(ours[0], 1)).std()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_small_blocks_give_the_same_values_as_one_block(classes: int, grouped: bool) -> None:
    first = make_answers(150, classes)
    second = answer_alike(first, seed=1)
    resampling = choose_resampling(first.expected, [str(row // 3) for row in range(150)] if grouped else None)
    names = metrics_for(classes)
    is_inside = np.arange(150) < 60

    def draw(working_bytes: int) -> list[np.ndarray]:
        return [
            *bootstrap_values(names, [first, second], resampling, 61, working_bytes=working_bytes).values(),
            *randomisation_differences(names, [first], [second], resampling, 61, working_bytes=working_bytes).values(),
            *(
                slice_differences(name, first, is_inside, resampling, 61, working_bytes=working_bytes)
                for name in ("accuracy", "brier")
            ),
        ]

    whole = draw(2**30)
    for working_bytes in (1, 150 * 8 * 7):
        for one, other in zip(whole, draw(working_bytes), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)


def test_ten_thousand_resamples_of_many_rows_take_few_megabytes() -> None:
    answers = make_answers(5000)
    bootstrap_values(CLASS_METRICS, [answers], rows_of(5000), 1)
    tracemalloc.start()
    bootstrap_values(CLASS_METRICS, [answers], rows_of(5000), 1000)
    randomisation_differences(CLASS_METRICS, [answers], [answers], rows_of(5000), 300)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All weights at once would be 20 megabytes and more; results and blocks are about a dozen.
    assert peak < 15e6


def test_every_metric_sees_the_same_resamples_whatever_else_is_asked_for() -> None:
    first = make_answers(120)
    second = answer_alike(first, seed=1)
    together = bootstrap_values(CLASS_METRICS, [first, second], rows_of(120), 50, seed=3)
    swapped = randomisation_differences(CLASS_METRICS, [first], [second], rows_of(120), 50, seed=3)
    for name in CLASS_METRICS:
        alone = bootstrap_values([name], [first, second], rows_of(120), 50, seed=3)[name]
        np.testing.assert_array_equal(alone, together[name])
        np.testing.assert_array_equal(
            randomisation_differences([name], [first], [second], rows_of(120), 50, seed=3)[name], swapped[name]
        )


@pytest.mark.parametrize("name", ["accuracy", "matthews_correlation", "roc_auc", "log_loss"])
def test_randomisation_equals_the_permutation_test_of_scipy(name: str) -> None:
    first = make_answers(80, seed=6, signal=1.2)
    second = answer_alike(first, seed=7, share=0.6)
    ours = randomisation_differences([name], [first], [second], rows_of(80), 4000)[name]
    both = [first, second]

    def difference(left: np.ndarray, right: np.ndarray) -> float:
        return value_of(name, _take(both, right)) - value_of(name, _take(both, left))

    # What is permuted are the numbers of the model whose answer stands on either side.
    oracle = scipy.stats.permutation_test(
        (np.zeros(80, dtype=int), np.ones(80, dtype=int)),
        difference,
        permutation_type="samples",
        vectorized=False,
        n_resamples=LOOPS,
        rng=np.random.default_rng(3),
    )
    assert same_distribution(ours, oracle.null_distribution)
    observed = value_of(name, second) - value_of(name, first)
    assert observed == pytest.approx(oracle.statistic)
    p_value = np.mean(np.abs(ours) >= abs(observed) - 1e-12)
    # scipy doubles the smaller tail; of a distribution that is symmetric about 0 that is the same.
    assert p_value == pytest.approx(oracle.pvalue, abs=4 * np.sqrt(2 * oracle.pvalue * (1 - oracle.pvalue) / LOOPS))


def _take(models: list[Answers], side: np.ndarray) -> Answers:
    """Return the answers of the model that `side` (rows,) names for each row."""
    rows = np.arange(len(side))
    predicted = np.stack([answers.predicted for answers in models])[side, rows]
    return build_answers(
        models[0].expected, np.stack([answers.probabilities for answers in models])[side, rows], predicted
    )


def enumerated(name: str, first: list[Answers], second: list[Answers], coins: list[tuple[int, ...]]) -> np.ndarray:
    """Return the mean difference over pairs of models for each assignment of their answers to the two sides."""
    found = []
    for sides in coins:
        side = np.array(sides)
        pairs = zip(first, second, strict=True)
        found.append(
            np.mean(
                [
                    value_of(name, _take([one, other], 1 - side)) - value_of(name, _take([one, other], side))
                    for one, other in pairs
                ]
            )
        )
    return np.array(found)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "roc_auc", "log_loss"])
def test_randomisation_of_few_rows_has_the_p_values_of_all_assignments(name: str) -> None:
    expected = np.array([0, 1, 0, 1, 0, 1, 1])
    generator = np.random.default_rng(4)
    first, second = ([answer(expected, 2, generator, signal=signal) for _ in range(2)] for signal in (0.0, 1.0))
    every = enumerated(name, first, second, list(itertools.product([0, 1], repeat=7)))
    ours = randomisation_differences([name], first, second, rows_of(7), 20_000)[name]
    assert set(np.round(ours, 9)) == set(np.round(every, 9))
    for limit in np.quantile(np.abs(every), [0.1, 0.5, 0.9]):
        exact = np.mean(np.abs(every) >= limit - 1e-12)
        assert np.mean(np.abs(ours) >= limit - 1e-12) == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_a_group_is_swapped_as_a_whole(name: str) -> None:
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    first, second = make_answers(8, seed=1), make_answers(8, seed=2)
    second = build_answers(first.expected, second.probabilities)
    resampling = choose_resampling(first.expected, [str(group) for group in groups])
    every = enumerated(
        name, [first], [second], [tuple(np.array(c)[groups]) for c in itertools.product([0, 1], repeat=3)]
    )
    ours = randomisation_differences([name], [first], [second], resampling, 500)[name]
    assert set(np.round(ours, 9)) == set(np.round(every, 9))


@pytest.mark.parametrize("name", ["accuracy", "matthews_correlation", "log_loss"])
def test_slice_differences_are_distributed_like_permuted_rows(name: str) -> None:
    answers, generator = make_answers(120, digits=1), np.random.default_rng(1)
    is_inside = np.arange(120) < 30
    ours = slice_differences(name, answers, is_inside, rows_of(120), 2000)

    def difference() -> float:
        mask = generator.permutation(is_inside)
        return value_of(name, answers[mask]) - value_of(name, answers[~mask])

    assert same_distribution(ours, np.array([difference() for _ in range(LOOPS)]))


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_slices_of_whole_groups_are_permuted_by_group_and_others_by_row(name: str) -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), generator.integers(1, 7, 40))
    rows = len(groups)
    is_right = generator.random(40)[groups] < 0.6
    expected = generator.integers(0, 2, rows)
    answers = build_answers(expected, np.where((expected == is_right)[:, np.newaxis], [0.3, 0.7], [0.8, 0.2]))
    resampling = choose_resampling(expected, [str(group) for group in groups])
    whole, cut = groups < 12, np.arange(rows) < (groups < 12).sum() - 1
    by_group = slice_differences(name, answers, whole, resampling, 2000)

    def loop(permuted: Callable[[], np.ndarray]) -> np.ndarray:
        masks = [permuted() for _ in range(LOOPS)]
        return np.array([value_of(name, answers[mask]) - value_of(name, answers[~mask]) for mask in masks])

    assert same_distribution(by_group, loop(lambda: generator.permutation(np.arange(40) < 12)[groups]))
    by_row = slice_differences(name, answers, cut, resampling, 2000)
    assert same_distribution(by_row, loop(lambda: generator.permutation(cut)))
    assert by_row.std() < 0.8 * by_group.std()


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_a_slice_of_all_rows_differs_from_nothing_without_a_warning(name: str) -> None:
    answers = make_answers(40)
    for is_inside in (np.ones(40, dtype=bool), np.zeros(40, dtype=bool)):
        assert np.isnan(slice_differences(name, answers, is_inside, rows_of(40), 20)).all()


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 4), max_size=300), scale=st.sampled_from([1, 20]))
def test_strata_hold_every_row_once(labels: list[int], scale: int) -> None:
    expected = np.repeat(np.array(labels, dtype=np.int64), scale)
    resampling = choose_resampling(expected)
    assert sorted(np.concatenate(resampling.strata).tolist()) == list(range(len(expected)))
    assert resampling.units == len(expected)
    drawn = resampling.draw(np.random.default_rng(0), 3)
    for stratum in resampling.strata:
        assert (drawn[:, stratum].sum(axis=1) == len(stratum)).all()


@pytest.mark.parametrize(
    ("counts", "strata"),
    [
        ([500, 500], [1000]),
        ([500, 30], [530]),
        ([500, 29], [500, 29]),
        ([500, 3], [3, 500]),
        ([500, 12, 3, 2], [5, 500, 12]),
        ([500], [500]),
        ([20], [20]),
        # Half of the rows would be drawn from a dozen each, and show a twelfth too little variance.
        ([100, 12, 12, 12, 12, 12, 12, 12, 12], [196]),
        ([1] * 40, [40]),
        ([], [0]),
    ],
)
def test_classes_are_drawn_by_themselves_where_few_rows_are_of_rare_ones(counts: list[int], strata: list[int]) -> None:
    resampling = choose_resampling(np.repeat(np.arange(len(counts)), counts))
    assert [len(stratum) for stratum in resampling.strata] == strata
    assert resampling.description == (WITHIN_CLASSES if len(strata) > 1 else BY_ROWS)


def test_one_row_of_each_class_is_not_taken_for_certain() -> None:
    expected = np.arange(60)
    answers = build_answers(expected, np.eye(60)[np.where(expected < 30, expected, 0)])
    values = bootstrap_values(["accuracy"], [answers], choose_resampling(expected), 1000)["accuracy"]
    assert values.std() == pytest.approx(np.sqrt(0.25 / 60), rel=0.1)


def test_groups_of_one_row_are_no_groups() -> None:
    expected = np.array([0, 1] * 40)
    assert choose_resampling(expected, [str(row) for row in range(80)]).description == BY_ROWS
    assert choose_resampling(expected, ["same", "same", *map(str, range(78))]).units == 79


def test_some_rows_are_resampled_by_their_own_groups_or_classes() -> None:
    expected = np.array([0, 1] * 40)
    positions = np.arange(10, 30)
    grouped = choose_resampling(expected, [str(row // 4) for row in range(80)]).of_rows(expected[positions], positions)
    assert (grouped.description, grouped.units) == (BY_GROUPS, 6)
    assert grouped.group_of_row is not None
    sizes = np.bincount(grouped.group_of_row)
    assert sorted(sizes.tolist()) == [2, 2, 4, 4, 4, 4]
    assert choose_resampling(expected).of_rows(expected[positions], positions).units == 20
