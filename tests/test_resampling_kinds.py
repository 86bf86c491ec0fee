"""Resampling, intervals, scores and tests of numbers, sets of labels and likelihoods: as of classes, against slow loops and scipy."""

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from finetune.answers import (
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_language_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.enough_rows import too_few_rows
from finetune.metric import Kind
from finetune.metrics import list_metrics, score
from finetune.resampling import (
    BY_ROWS,
    bootstrap_values,
    choose_resampling,
    randomisation_differences,
    slice_differences,
)
from finetune.rivals import compare_with_rivals
from finetune.scores import measure_slices, score_slices
from finetune.slices import compare_slices
from finetune.statistics import Interval, bootstrap_intervals
from tests.made_answers import OTHER_KINDS, make_kind, make_label_sets, make_likelihoods, make_numbers

PRIMARY: dict[Kind, str] = {RegressionAnswers: "pearson", MultilabelAnswers: "macro_f1", LanguageAnswers: "token_loss"}
NAMES = [(kind, name) for kind in OTHER_KINDS for name in list_metrics(kind)]
LOOPS = 120
"""Resamples of the slow oracles."""
SAME = "every resample has the same value, so they can't show how far it varies"


def value_of(name: str, answers: AnyAnswers) -> float:
    """Return a metric that must be defined here."""
    value = score(name, answers).value
    assert value is not None
    return value


def swap(first: AnyAnswers, second: AnyAnswers, side: np.ndarray) -> AnyAnswers:
    """Return the answers of `second` to the rows where `side` (rows,) is 1, those of `first` to the others."""
    columns: list[Any] = []
    for field in first.__dataclass_fields__:
        one, other = getattr(first, field), getattr(second, field)
        if isinstance(one, np.ndarray):
            columns.append(np.where(side.reshape(-1, *[1] * (one.ndim - 1)) == 1, other, one))
        else:
            columns.append(swap(one, other, side))
    return type(first)(*columns)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_bootstrap_values_are_distributed_like_the_metrics_of_rows_drawn_one_by_one(kind: Kind) -> None:
    answers, names = make_kind(kind, 100), list_metrics(kind)
    ours = bootstrap_values(names, [answers], choose_resampling(answers.strata), 1500)
    chosen = np.random.default_rng(1).integers(0, 100, (LOOPS, 100))
    for name in names:
        oracle = np.array([value_of(name, answers[rows]) for rows in chosen])
        # Rounded, since equal values that differ in the last digit would not be tied.
        assert scipy.stats.ks_2samp(np.round(ours[name][0], 10), np.round(oracle, 10)).pvalue > 0.001, name


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_small_blocks_give_the_same_values_as_one_block(kind: Kind) -> None:
    first, second, names = make_kind(kind, 60), make_kind(kind, 60, seed=1), list_metrics(kind)
    how = choose_resampling(first.strata, [str(row // 3) for row in range(60)])
    for measure in (
        lambda size: bootstrap_values(names, [first, second], how, 40, working_bytes=size),
        lambda size: randomisation_differences(names, [first], [second], how, 40, working_bytes=size),
    ):
        whole, small = measure(2**20), measure(2**12)
        for name in names:
            np.testing.assert_allclose(whole[name], small[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_randomisation_of_few_rows_has_the_p_values_of_all_assignments(kind: Kind, name: str) -> None:
    first, second = make_kind(kind, 6, seed=1), make_kind(kind, 6, seed=2)
    every = []
    for coins in itertools.product([0, 1], repeat=6):
        side = np.array(coins)
        every.append(value_of(name, swap(first, second, 1 - side)) - value_of(name, swap(first, second, side)))
    ours = randomisation_differences([name], [first], [second], choose_resampling(first.strata), 3000)[name]
    assert set(np.round(ours, 9)) == set(np.round(every, 9))
    for limit in np.quantile(np.abs(every), [0.1, 0.5, 0.9]):
        exact = np.mean(np.abs(every) >= limit - 1e-9)
        assert np.mean(np.abs(ours) >= limit - 1e-9) == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 3000))


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_slice_differences_are_distributed_like_permuted_rows(kind: Kind) -> None:
    answers, name = make_kind(kind, 90), PRIMARY[kind]
    is_inside = np.arange(90) < 30
    ours = slice_differences(name, answers, is_inside, choose_resampling(answers.strata), 1500)
    generator = np.random.default_rng(2)
    masks = [generator.permutation(is_inside) for _ in range(LOOPS)]
    oracle = [value_of(name, answers[mask]) - value_of(name, answers[~mask]) for mask in masks]
    assert scipy.stats.ks_2samp(np.round(ours, 10), np.round(oracle, 10)).pvalue > 0.001


def test_the_interval_of_a_loss_a_token_is_that_of_scipy_over_texts() -> None:
    answers = make_likelihoods(200)
    ours = bootstrap_intervals(["token_loss", "perplexity"], answers, resamples=4000)
    oracle = scipy.stats.bootstrap(
        (answers.losses, answers.tokens),
        lambda losses, tokens, axis: losses.sum(axis=axis) / tokens.sum(axis=axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = ours["token_loss"]
    assert found.low is not None and found.high is not None
    width = oracle.high - oracle.low
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.08 * width)
    assert ours["perplexity"].low == pytest.approx(math.exp(found.low), rel=0.01)


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_nine_rows_have_no_interval_and_enough_rows_have_one_around_the_value(kind: Kind, name: str) -> None:
    answers = make_kind(kind, 80)
    assert bootstrap_intervals([name], answers[:9])[name] == Interval(None, None, 1.0, "fewer than 10 rows")
    interval = bootstrap_intervals([name], answers, resamples=300)[name]
    assert interval.low is not None and interval.high is not None
    assert interval.low < value_of(name, answers) < interval.high


def test_a_mean_over_labels_needs_enough_rows_of_nine_labels_in_ten() -> None:
    many = make_label_sets(200, labels=20)
    how = choose_resampling(many.strata)
    for rare, is_enough in ((2, True), (3, False)):
        expected = many.expected.copy()
        expected[4:, :rare] = False
        expected[0, :rare] = True
        answers = build_multilabel_answers(expected, many.probabilities)
        for name in ("macro_f1", "roc_auc", "pr_auc"):
            assert (too_few_rows(name, answers, how) == "") == is_enough, (name, rare)
        for name in ("micro_f1", "subset_accuracy", "hamming_loss"):
            assert too_few_rows(name, answers, how) == ""


def test_a_share_of_rows_that_are_all_right_has_the_interval_of_wilson() -> None:
    expected = np.arange(60).reshape(30, 2) % 3 == 0
    sets = bootstrap_intervals(
        list_metrics(MultilabelAnswers), build_multilabel_answers(expected, expected.astype(float)), resamples=50
    )
    low, _ = proportion_confint(30, 30, method="wilson")
    assert (sets["subset_accuracy"].low, sets["subset_accuracy"].high) == (pytest.approx(low), 1.0)
    assert {sets[name].reason for name in sets if name != "subset_accuracy"} == {SAME}
    follows = build_answers([0, 1] * 15, np.eye(2)[[0, 1] * 15])
    texts = build_language_answers(np.ones(30), np.ones(30), np.zeros(30), np.ones(30), follows)
    found = bootstrap_intervals(list_metrics(LanguageAnswers), texts, resamples=50)
    assert (found["next_sentence_accuracy"].low, found["next_sentence_accuracy"].high) == (pytest.approx(low), 1.0)
    assert found["token_loss"] == Interval(None, None, 0.0, SAME)


def test_a_model_that_gives_no_row_a_label_has_a_certain_f1_of_zero() -> None:
    answers = build_multilabel_answers(make_label_sets(60).expected, np.full((60, 4), 0.1))
    found = bootstrap_intervals(list_metrics(MultilabelAnswers), answers, resamples=200)
    assert found["macro_f1"] == found["micro_f1"] == Interval(0.0, 0.0)
    assert found["roc_auc"] == Interval(0.5, 0.5)
    varies = found["hamming_loss"]
    assert varies.low is not None and varies.high is not None and varies.low < varies.high


def test_numbers_without_an_error_have_no_interval_and_constant_ones_no_correlation() -> None:
    expected = make_numbers(40).expected
    perfect = bootstrap_intervals(["mean_squared_error"], build_regression_answers(expected, expected))
    assert perfect["mean_squared_error"] == Interval(None, None, 0.0, SAME)
    constant = build_regression_answers(expected, np.full(40, 3.4))
    assert bootstrap_intervals(["pearson"], constant)["pearson"].reason == "every predicted number is the same"


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_tiny_data_never_warns(kind: Kind) -> None:
    names = list_metrics(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (1, 2, 4, 10, 14):
            assert set(bootstrap_intervals(names, make_kind(kind, rows), resamples=100)) == set(names)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_rows_of_every_kind_are_scored_on_all_rows_and_on_slices_that_are_large_enough(kind: Kind) -> None:
    answers, names = make_kind(kind, 60), list_metrics(kind)
    slices = {"half: 1": np.arange(30), "few": np.arange(9)}
    found = score_slices(names, answers, slices, 100)
    assert [(entry.name, entry.slice) for entry in found] == [(n, s) for s in ("all", *slices) for n in names]
    assert all(entry.value == score(entry.name, answers).value for entry in found if entry.slice == "all")
    assert all(entry.low is not None and entry.resampling == BY_ROWS for entry in found if entry.slice == "all")
    assert {entry.reason for entry in found if entry.slice == "few"} == {"fewer than 10 rows"}
    alone = measure_slices(names, answers, slices, 100)
    assert {entry.slice for entry in alone} == {"all", "half: 1"}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_slice_of_another_kind_of_rows_is_flagged_and_a_random_one_is_not(kind: Kind) -> None:
    good, bad = make_kind(kind, 300, seed=1), make_kind(kind, 300, seed=2)
    if isinstance(bad, LanguageAnswers):
        bad = build_language_answers(3 * bad.losses, bad.tokens, bad.right, bad.text_bytes, bad.next_sentence)
    elif isinstance(bad, RegressionAnswers):
        bad = build_regression_answers(bad.expected, np.random.default_rng(0).normal(size=300))
    else:
        assert isinstance(bad, MultilabelAnswers)
        bad = build_multilabel_answers(bad.expected, 1 - bad.probabilities)
    mixed = swap(good, bad, (np.arange(300) < 80).astype(int))
    slices = {"bad": np.arange(80), "random": np.arange(0, 300, 3)}
    tests = {test.slice: test for test in compare_slices(PRIMARY[kind], mixed, slices, choose_resampling(mixed.strata))}
    assert tests["bad"].is_flagged and not tests["random"].is_flagged


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_model_is_held_against_a_baseline_of_its_kind(kind: Kind) -> None:
    name, seeds = PRIMARY[kind], [make_kind(kind, 150, seed=seed) for seed in (1, 2)]
    (same,) = compare_with_rivals(name, seeds[:1], {"same": seeds[0]}, choose_resampling(seeds[0].strata))
    assert (same.difference, same.p_value) == (0.0, 1.0)
    (found,) = compare_with_rivals(
        name, seeds, {"other": make_kind(kind, 150, seed=9)}, choose_resampling(seeds[0].strata)
    )
    assert found.low is not None and found.difference is not None and found.high is not None
    assert found.low < found.difference < found.high


def test_a_constant_baseline_has_no_correlation_to_be_compared_with() -> None:
    model = make_numbers(100)
    mean = build_regression_answers(model.expected, np.full(100, model.expected.mean()))
    how = choose_resampling(model.strata)
    assert compare_with_rivals("pearson", [model], {"train mean": mean}, how)[0].basis == "undefined"
    error = compare_with_rivals("mean_absolute_error", [model], {"train mean": mean}, how)[0]
    assert error.difference is not None and error.p_value is not None
