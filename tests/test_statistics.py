"""finetune.statistics: bootstrap intervals, when there is none, and seeds and rows as sources, against independent oracles."""

import math
import time
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from finetune.answers import Answers, build_answers
from finetune.enough_rows import too_few_rows
from finetune.errors import FinetuneError, InvalidResultError, RecipeError
from finetune.metrics import score
from finetune.resampling import BY_ROWS, Resampling, bootstrap_values, choose_resampling
from finetune.statistics import (
    Interval,
    Variance,
    bootstrap_intervals,
    degrees_of_freedom,
    interval_of_mean,
    interval_over_seeds_and_rows,
    percentile_interval,
    standard_error_and_quantile,
    summary,
    variance_of_mean,
    variance_over_rows,
)
from tests.made_answers import CLASS_METRICS, answer, make_answers


def rows_of(rows: int) -> Resampling:
    """Return plain resampling of so many rows."""
    return Resampling(BY_ROWS, (np.arange(rows),))


def certain(expected: list[int], predicted: list[int], classes: int = 2) -> Answers:
    """Return answers that are certain of `predicted`."""
    return build_answers(expected, np.eye(classes)[predicted])


@pytest.mark.parametrize(
    "name", ["matthews_correlation", "accuracy", "macro_f1", "precision", "roc_auc", "brier", "log_loss"]
)
def test_intervals_equal_the_percentile_bootstrap_of_scipy(name: str) -> None:
    answers, resamples = make_answers(200), 900
    ours = bootstrap_intervals([name], answers, resamples=resamples, seed=1)[name]
    oracle = scipy.stats.bootstrap(
        (np.arange(len(answers)),),
        lambda rows: score(name, answers[rows]).value,
        method="percentile",
        vectorized=False,
        n_resamples=resamples,
        rng=np.random.default_rng(2),
    )
    # The 2.5 % quantile of B draws from a normal has standard error sqrt(0.025 * 0.975 / B) / density, about
    # 2.67 / sqrt(B) standard deviations; two of them are compared, and a result 4 standard errors off is no chance.
    tolerance = 4 * math.sqrt(2) * 2.67 / math.sqrt(resamples) * oracle.standard_error
    assert ours.low == pytest.approx(oracle.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(oracle.confidence_interval.high, abs=tolerance)
    assert tolerance < (oracle.confidence_interval.high - oracle.confidence_interval.low) / 5


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=60), confidence=st.sampled_from([0.5, 0.9, 0.95]))
def test_percentile_intervals_are_the_quantiles_of_scipy(values: list[float], confidence: float) -> None:
    interval = percentile_interval(np.array([*values, math.nan][: len(values) + (len(values) > 30)]), confidence)
    low, high = scipy.stats.quantile(np.array(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_ten_thousand_resamples_of_every_metric_on_a_thousand_rows_take_under_five_seconds() -> None:
    answers = make_answers(1043)
    bootstrap_intervals(CLASS_METRICS, answers, resamples=1)
    start = time.process_time()
    bootstrap_intervals(CLASS_METRICS, answers, resamples=10_000)
    assert time.process_time() - start < 5


def test_an_interval_does_not_depend_on_what_else_is_asked_for() -> None:
    answers = make_answers(120)
    together = bootstrap_intervals(CLASS_METRICS, answers, resamples=100, seed=3)
    for name in CLASS_METRICS:
        assert bootstrap_intervals([name], answers, resamples=100, seed=3)[name] == together[name]


def test_the_seed_decides_the_intervals() -> None:
    answers = make_answers(120)
    for name in ("accuracy", "log_loss"):
        first, again, other = (bootstrap_intervals([name], answers, resamples=100, seed=seed) for seed in (0, 0, 1))
        assert first == again != other


def test_more_confidence_gives_a_wider_interval() -> None:
    answers = make_answers(120)
    (wide, narrow) = (
        bootstrap_intervals(["accuracy"], answers, confidence=confidence)["accuracy"] for confidence in (0.99, 0.5)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_resamples_without_a_value_are_counted_and_left_out() -> None:
    # Five positive rows of 100: a plain resample has none with probability 0.95^100 = 0.6 %.
    expected = np.array([1] * 5 + [0] * 95)
    for right in (3, 5):
        answers = certain(expected.tolist(), [1] * right + [0] * (100 - right))
        interval = bootstrap_intervals(["recall"], answers, resampling=rows_of(100), resamples=5000)["recall"]
        assert interval.undefined_share == pytest.approx(0.95**100, abs=0.004)
        assert interval.undefined_share > 0
        assert interval.low is not None
        assert interval.reason == ""


def test_there_is_no_interval_when_too_many_resamples_have_no_value() -> None:
    answers = certain([0, 1] * 50, [1] * 2 + [0] * 98)
    interval = bootstrap_intervals(["precision"], answers)["precision"]
    assert (interval.low, interval.high) == (None, None)
    assert interval.undefined_share == pytest.approx(0.98**100, abs=0.03)
    assert interval.reason == f"undefined in {interval.undefined_share:.1%} of the resamples, allowed are 5%"


def test_a_metric_without_a_value_has_no_interval_but_its_reason() -> None:
    intervals = bootstrap_intervals(["accuracy", "recall"], certain([0] * 20, [0, 1] * 10), resamples=50)
    assert intervals["recall"] == Interval(None, None, 1.0, "no row is positive in the labels")
    assert intervals["accuracy"].low is not None
    no_rows = build_answers([], np.empty((0, 2)))
    assert bootstrap_intervals(["f1"], no_rows)["f1"] == Interval(None, None, 1.0, "no rows")


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_nine_rows_have_no_interval_and_ten_may_have_one(name: str) -> None:
    (few, enough) = (
        bootstrap_intervals([name], certain([0, 1] * 5, [0, 1, 1, 0, 0, 1, 0, 1, 0, 1])[:rows])[name]
        for rows in (9, 10)
    )
    assert few == Interval(None, None, 1.0, "fewer than 10 rows")
    assert enough.low is not None


def test_rows_in_fewer_than_ten_groups_have_no_interval() -> None:
    answers = make_answers(90)
    few, enough = (choose_resampling(answers.expected, [str(row % groups) for row in range(90)]) for groups in (9, 10))
    assert (
        bootstrap_intervals(["accuracy"], answers, resampling=few)["accuracy"].reason == "fewer than 10 groups of rows"
    )
    assert bootstrap_intervals(["accuracy"], answers, resampling=enough)["accuracy"].low is not None


def test_metrics_that_need_both_classes_need_five_rows_of_each() -> None:
    for rare, has_interval in ((4, False), (5, True)):
        expected = np.array([1] * rare + [0] * 95)
        answers = answer(expected, 2, np.random.default_rng(1), signal=0.3)
        found = bootstrap_intervals(CLASS_METRICS, answers, resamples=200)
        without = {name for name, interval in found.items() if interval.low is None}
        always = {"accuracy", "brier", "log_loss", "expected_calibration_error"}
        assert without == (set() if has_interval else set(CLASS_METRICS) - always), rare
        assert all(found[name].reason == "fewer than 5 rows of a class" for name in without)


def test_of_many_classes_only_means_over_classes_need_five_rows_of_each_that_occurs() -> None:
    answers = answer(np.repeat([0, 1, 2], [50, 46, 4]), 4, np.random.default_rng(0))
    reasons = {name: too_few_rows(name, answers, choose_resampling(answers.expected)) for name in CLASS_METRICS}
    assert {name for name, reason in reasons.items() if reason} == {
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        "pr_auc",
    }
    answers = answer(np.repeat([0, 1, 2], [50, 45, 5]), 4, np.random.default_rng(0))
    assert not any(too_few_rows(name, answers, choose_resampling(answers.expected)) for name in CLASS_METRICS)


def test_a_collapsed_model_has_the_interval_zero_to_zero() -> None:
    answers = build_answers([0] * 20 + [1] * 40, np.tile([0.3, 0.7], (60, 1)))
    found = bootstrap_intervals(["matthews_correlation", "balanced_accuracy", "recall", "roc_auc"], answers)
    assert found["matthews_correlation"] == Interval(0.0, 0.0)
    assert found["balanced_accuracy"] == found["roc_auc"] == Interval(0.5, 0.5)
    assert found["recall"] == Interval(1.0, 1.0)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_proportion_of_all_or_none_has_the_interval_of_wilson(confidence: float) -> None:
    expected = [0, 1, 1] * 8
    for answers, value in (
        (certain(expected, expected), 1.0),
        (certain(expected, [1 - label for label in expected]), 0.0),
    ):
        found = bootstrap_intervals(["accuracy", "precision", "recall"], answers, resamples=50, confidence=confidence)
        for name, trials in (("accuracy", 24), ("recall", 16), ("precision", 16 if value else 8)):
            low, high = proportion_confint(value * trials, trials, alpha=1 - confidence, method="wilson")
            assert (found[name].low, found[name].high) == (pytest.approx(low), pytest.approx(high)), name


def test_other_metrics_of_a_model_without_a_mistake_have_no_interval() -> None:
    answers = certain([0, 1] * 20, [0, 1] * 20)
    found = bootstrap_intervals(CLASS_METRICS, answers, resamples=50)
    without = set(CLASS_METRICS) - {"accuracy", "precision", "recall"}
    assert {name for name, interval in found.items() if interval.low is None} == without
    reasons = {found[name].reason for name in without}
    assert reasons == {"every resample has the same value, so they can't show how far it varies"}


def test_a_model_without_a_mistake_has_no_interval_over_groups_whose_rows_hang_together() -> None:
    answers = certain([0, 1] * 20, [0, 1] * 20)
    grouped = choose_resampling(answers.expected, [str(row // 2) for row in range(40)])
    assert bootstrap_intervals(["accuracy"], answers, resampling=grouped)["accuracy"].low is None


def test_the_bootstrap_never_warns_on_tiny_data() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (1, 4, 10, 14):
            for classes in (2, 3):
                for seed in range(4):
                    answers = make_answers(rows, classes, seed=seed)
                    assert set(bootstrap_intervals(CLASS_METRICS, answers, resamples=200)) == set(CLASS_METRICS)


def test_the_bootstrap_refuses_wrong_settings_and_names() -> None:
    answers = make_answers(20)
    with pytest.raises(FinetuneError, match="at least one resample"):
        bootstrap_intervals(["accuracy"], answers, resamples=0)
    with pytest.raises(FinetuneError, match="between 0 and 1"):
        bootstrap_intervals(["accuracy"], answers, confidence=95)
    with pytest.raises(RecipeError, match="unknown metric"):
        bootstrap_intervals(["nothing"], answers)
    with pytest.raises(FinetuneError, match="between 0 and 1"):
        interval_of_mean([1.0, 2.0], confidence=1.0)
    with pytest.raises(FinetuneError, match="between 0 and 1"):
        interval_over_seeds_and_rows([1.0, 2.0], Variance(1.0, 9), confidence=0)


def correctness_of_seeds(seeds: int, rows: int, seed: int = 0) -> list[Answers]:
    """Return answers of several seeds that find the same rows hard, and miss others each by itself."""
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, 2, rows)
    ease = generator.normal(1, 1, rows)
    return [
        build_answers(expected, np.eye(2)[np.where(ease + generator.normal(0, 1, rows) > 0, expected, 1 - expected)])
        for _ in range(seeds)
    ]


def test_the_variance_over_rows_of_one_seed_is_that_of_its_resamples() -> None:
    answers = make_answers(200)
    values = bootstrap_values(["accuracy"], [answers], rows_of(200), 20_000)["accuracy"]
    accuracy = score("accuracy", answers).value
    assert accuracy is not None
    for resampled in (values, values[0], np.append(values[0], math.nan)):
        found = variance_over_rows(resampled, 200)
        assert found.value == pytest.approx(accuracy * (1 - accuracy) / 200, rel=0.04)
        assert found.degrees_of_freedom == 199


def test_the_variance_over_rows_of_several_seeds_is_what_they_share() -> None:
    seeds = correctness_of_seeds(4, 300)
    values = bootstrap_values(["accuracy"], seeds, rows_of(300), 20_000)["accuracy"]
    is_right = np.stack([answers.is_right for answers in seeds])
    covariances = np.cov(is_right, ddof=0) / 300
    shared = covariances[~np.eye(4, dtype=bool)].mean()
    assert variance_over_rows(values, 300).value == pytest.approx(shared, rel=0.04)
    # The components of an analysis of variance with rows and seeds crossed: mean squares of rows less those of the residual.
    of_rows, of_seeds = is_right.mean(axis=0), is_right.mean(axis=1, keepdims=True)
    between = 4 * of_rows.var(ddof=1)
    residual = ((is_right - of_rows - of_seeds + is_right.mean()) ** 2).sum() / (3 * 299)
    assert shared == pytest.approx((between - residual) / 4 / 300, rel=0.01)
    assert variance_over_rows(values.mean(axis=0), 300).value > 1.2 * shared


def test_the_variance_of_a_difference_over_rows_leaves_out_what_both_runs_share() -> None:
    models = correctness_of_seeds(5, 300)
    values = bootstrap_values(["accuracy"], models, rows_of(300), 20_000)["accuracy"]
    first, second = values[:2], values[2:]
    covariances = np.cov(np.stack([answers.is_right for answers in models]), ddof=0) / 300
    expected = covariances[0, 1] + covariances[2:, 2:][~np.eye(3, dtype=bool)].mean() - 2 * covariances[:2, 2:].mean()
    found = variance_over_rows(first, 300, second)
    assert found.value == pytest.approx(max(0, expected), abs=2e-5)
    single = variance_over_rows(values[0], 300, values[1])
    assert single.value == pytest.approx(np.var(values[1] - values[0], ddof=1))


def test_the_variance_over_rows_is_never_negative() -> None:
    assert variance_over_rows(np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]]), 20) == Variance(0.0, 19)


def test_seeds_that_agree_leave_the_rows_and_rows_without_variance_leave_the_seeds() -> None:
    rows = interval_over_seeds_and_rows([0.5, 0.5, 0.5], Variance(0.01, 1e9))
    assert (rows.low, rows.high) == (pytest.approx(0.5 - 0.196, abs=1e-4), pytest.approx(0.5 + 0.196, abs=1e-4))
    values = [0.4, 0.5, 0.9]
    seeds, alone = interval_over_seeds_and_rows(values, Variance(0.0, 99)), interval_of_mean(values)
    assert (seeds.low, seeds.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    both = interval_over_seeds_and_rows(values, Variance(0.01, 99))
    assert both.high - both.low > 2 * 1.96 * math.sqrt(0.01 + np.var(values, ddof=1) / 3)
    assert interval_over_seeds_and_rows([0.5], Variance(0.01, 99)).reason == "fewer than two values"
    assert interval_over_seeds_and_rows([0.5, 0.5], Variance(0.0, 99)) == Interval(0.5, 0.5)


positive = st.floats(1e-6, 1e3)


@settings(max_examples=100, deadline=None)
@given(sources=st.lists(st.builds(Variance, positive, st.integers(1, 500)), min_size=1, max_size=4))
def test_degrees_of_freedom_lie_between_the_fewest_and_all(sources: list[Variance]) -> None:
    found = degrees_of_freedom(sources)
    freedoms = [source.degrees_of_freedom for source in sources]
    assert min(freedoms) * (1 - 1e-9) <= found <= sum(freedoms) * (1 + 1e-9)
    error, quantile = standard_error_and_quantile(sources)
    assert error == pytest.approx(math.sqrt(sum(source.value for source in sources)))
    assert quantile == pytest.approx(scipy.stats.t.ppf(0.975, found))


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_few_seeds_beside_many_rows_are_covered_as_stated(seeds: int, share: float) -> None:
    # A share of the variance is estimated from few seeds, the rest is known; 40,000 draws leave an error of 0.1 %.
    generator = np.random.default_rng(0)
    off = np.abs(generator.normal(size=40_000))
    of_seeds = share * generator.chisquare(seeds - 1, 40_000) / (seeds - 1)
    order = np.argsort(of_seeds)
    reach = [
        math.prod(standard_error_and_quantile([Variance(value, seeds - 1), Variance(1 - share, 999)]))
        for value in of_seeds[order[::200]]
    ]
    covered = np.mean(off < np.interp(of_seeds, of_seeds[order[::200]], reach))
    assert 0.935 <= covered <= 0.96


def test_the_variance_of_a_mean_is_that_of_scipy() -> None:
    values = [0.58, 0.61, 0.55, 0.60]
    assert math.sqrt(variance_of_mean(values).value) == pytest.approx(scipy.stats.sem(values))
    assert variance_of_mean(values).degrees_of_freedom == 3


finite = st.floats(-100, 100).filter(lambda value: value == 0 or abs(value) > 1e-6)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(finite, min_size=2, max_size=12), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_of_a_mean_equals_student_t_of_scipy(values: list[float], confidence: float) -> None:
    interval = interval_of_mean(values, confidence)
    assert interval.reason == ""
    deviation = np.std(values, ddof=1)
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1) * deviation / math.sqrt(len(values))
    assert interval.low == pytest.approx(np.mean(values) - half, abs=1e-9)
    assert interval.high == pytest.approx(np.mean(values) + half, abs=1e-9)


def test_the_interval_of_two_values_uses_the_quantile_of_the_t_table() -> None:
    # 12.706 is the 97.5 % quantile for one degree of freedom; the standard error of 0.5 and 0.7 is 0.1.
    interval = interval_of_mean([0.5, 0.7])
    assert interval.low == pytest.approx(0.6 - 1.2706, abs=1e-4)
    assert interval.high == pytest.approx(0.6 + 1.2706, abs=1e-4)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    assert interval_of_mean(values) == Interval(None, None, 0.0, "fewer than two values")


def test_a_summary_holds_mean_spread_extremes_and_interval() -> None:
    values = [0.58, 0.61, 0.55, 0.60]
    found = summary(values)
    assert found.mean == pytest.approx(0.585)
    assert found.standard_deviation == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (interval_of_mean(values).low, interval_of_mean(values).high)
    assert (found.minimum, found.maximum, found.n) == (0.55, 0.61, 4)


def test_a_summary_of_one_value_has_no_spread() -> None:
    found = summary([0.4])
    assert (found.mean, found.minimum, found.maximum, found.n) == (0.4, 0.4, 0.4, 1)
    assert found.standard_deviation is found.low is found.high is None


def test_a_summary_of_equal_values_has_exactly_their_mean_and_no_spread() -> None:
    found = summary([0.1] * 3)
    assert (found.mean, found.standard_deviation, found.low, found.high) == (0.1, 0.0, 0.1, 0.1)


def test_a_summary_refuses_no_values_and_values_that_are_not_finite() -> None:
    with pytest.raises(FinetuneError, match="at least one value"):
        summary([])
    with pytest.raises(InvalidResultError, match="not finite"):
        summary([0.5, math.nan])
