"""finetune.statistics: weighted metrics, bootstrap intervals and seed summaries against independent oracles."""

import math
import time
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune import statistics
from finetune.errors import FinetuneError, InvalidResultError, RecipeError
from finetune.metrics import METRICS, score
from finetune.statistics import Interval, bootstrap_intervals, interval_of_mean, summary, weighted_values

Rows = tuple[NDArray[np.int64], NDArray[np.float64]]


def rows_of_a_run(count: int, classes: int = 2, *, seed: int = 0, digits: int = 12, signal: float = 1.0) -> Rows:
    """Return labels and probabilities of a model better than chance; few digits make ties."""
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), expected] += signal
    masses = np.round(np.exp(logits), digits) + 10.0**-digits
    return expected, masses / masses.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 4])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12), digits=st.integers(0, 3))
def test_weighted_values_equal_the_metric_of_the_resampled_rows(
    classes: int, seed: int, count: int, digits: int
) -> None:
    expected, probabilities = rows_of_a_run(count, classes, seed=seed, digits=digits)
    chosen = np.random.default_rng(seed).integers(0, count, (3, count))
    weights = np.stack([np.bincount(row, minlength=count) for row in chosen])
    for name in METRICS:
        if classes > 2 and name in {"f1", "precision", "recall"}:
            continue
        values = weighted_values([name], expected, probabilities, weights)[name]
        direct = [score(name, expected[row], probabilities[row]).value for row in chosen]
        as_numbers = [math.nan if value is None else value for value in direct]
        np.testing.assert_allclose(values, as_numbers, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_weighted_auc_equals_scikit_learn_with_and_without_ties(digits: int) -> None:
    expected, probabilities = rows_of_a_run(300, digits=digits)
    weights = np.random.default_rng(1).uniform(0, 3, (20, 300))
    values = weighted_values(["roc_auc"], expected, probabilities, weights)["roc_auc"]
    oracle = [sklearn.metrics.roc_auc_score(expected, probabilities[:, 1], sample_weight=row) for row in weights]
    np.testing.assert_allclose(values, oracle, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["matthews_correlation", "accuracy", "macro_f1", "precision", "roc_auc", "brier", "log_loss"]
)
def test_intervals_equal_the_percentile_bootstrap_of_scipy(name: str) -> None:
    expected, probabilities = rows_of_a_run(200)
    resamples = 1500
    ours = bootstrap_intervals([name], expected, probabilities, resamples=resamples, seed=1)[name]
    oracle = scipy.stats.bootstrap(
        (np.arange(len(expected)),),
        lambda rows: score(name, expected[rows], probabilities[rows]).value,
        method="percentile",
        vectorized=False,
        n_resamples=resamples,
        rng=np.random.default_rng(2),
    )
    # The 2.5 % quantile of B draws from a normal has standard error sqrt(0.025 * 0.975 / B) / density, about
    # 2.67 / sqrt(B) standard deviations; two of them are compared, and a result 5 standard errors off is no chance.
    tolerance = 5 * math.sqrt(2) * 2.67 / math.sqrt(resamples) * oracle.standard_error
    assert ours.low == pytest.approx(oracle.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(oracle.confidence_interval.high, abs=tolerance)
    assert tolerance < (oracle.confidence_interval.high - oracle.confidence_interval.low) / 5


def test_intervals_of_accuracy_and_correlation_cover_the_truth_at_their_stated_rate() -> None:
    right, replicates, rows = 0.8, 400, 500
    generator = np.random.default_rng(0)
    # Balanced labels and errors that do not depend on the label: the true correlation is 2 * right - 1.
    truth = {"accuracy": right, "matthews_correlation": 2 * right - 1}
    covered = dict.fromkeys(truth, 0)
    for replicate in range(replicates):
        expected = generator.integers(0, 2, rows)
        predicted = np.where(generator.random(rows) < right, expected, 1 - expected)
        intervals = bootstrap_intervals(list(truth), expected, np.eye(2)[predicted], resamples=600, seed=replicate)
        for name, value in truth.items():
            low, high = intervals[name].low, intervals[name].high
            assert low is not None
            assert high is not None
            covered[name] += low <= value <= high
    for name, count in covered.items():
        assert 0.92 <= count / replicates <= 0.98, name


@pytest.mark.parametrize("classes", [2, 3])
def test_small_blocks_give_the_same_intervals_as_one_block(classes: int) -> None:
    expected, probabilities = rows_of_a_run(150, classes)
    whole = bootstrap_intervals(list(METRICS), expected, probabilities, resamples=211)
    for working_bytes in (1, 150 * 8 * 7):
        parts = bootstrap_intervals(list(METRICS), expected, probabilities, resamples=211, working_bytes=working_bytes)
        for name, interval in whole.items():
            assert parts[name].low == pytest.approx(interval.low, abs=1e-12), name
            assert parts[name].high == pytest.approx(interval.high, abs=1e-12), name


def test_blocks_stay_within_the_working_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = statistics._Rows.values

    def record(self: statistics._Rows, names: list[str], weights: NDArray[np.float64]) -> dict[str, NDArray]:
        sizes.append(weights.nbytes)
        return original(self, names, weights)

    monkeypatch.setattr(statistics._Rows, "values", record)
    expected, probabilities = rows_of_a_run(100)
    bootstrap_intervals(["accuracy"], expected, probabilities, resamples=50, working_bytes=8000)
    assert sizes == [8000] * 5


def test_ten_thousand_resamples_of_every_metric_on_a_thousand_rows_take_under_five_seconds() -> None:
    expected, probabilities = rows_of_a_run(1043)
    bootstrap_intervals(list(METRICS), expected, probabilities, resamples=1)
    start = time.process_time()
    bootstrap_intervals(list(METRICS), expected, probabilities, resamples=10_000)
    assert time.process_time() - start < 5


def test_every_metric_sees_the_same_resamples_whatever_else_is_asked_for() -> None:
    expected, probabilities = rows_of_a_run(120)
    together = bootstrap_intervals(list(METRICS), expected, probabilities, resamples=100, seed=3)
    for name in METRICS:
        assert bootstrap_intervals([name], expected, probabilities, resamples=100, seed=3)[name] == together[name]


def test_the_seed_decides_the_intervals() -> None:
    expected, probabilities = rows_of_a_run(120)
    first, again, other = (
        bootstrap_intervals(["log_loss"], expected, probabilities, resamples=100, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_more_confidence_gives_a_wider_interval() -> None:
    expected, probabilities = rows_of_a_run(120)
    (wide, narrow) = (
        bootstrap_intervals(["accuracy"], expected, probabilities, confidence=confidence)["accuracy"]
        for confidence in (0.99, 0.5)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_resamples_without_a_value_are_counted_and_left_out() -> None:
    # Four positive rows of 100: a resample has none with probability 0.96^100 = 1.7 %.
    expected = np.array([1] * 4 + [0] * 96)
    _, probabilities = rows_of_a_run(100)
    interval = bootstrap_intervals(["recall"], expected, probabilities)["recall"]
    assert interval.undefined_share == pytest.approx(0.96**100, abs=0.01)
    assert interval.undefined_share > 0
    assert interval.low is not None
    assert interval.reason == ""


def test_there_is_no_interval_when_too_many_resamples_have_no_value() -> None:
    expected = np.array([1] + [0] * 99)
    _, probabilities = rows_of_a_run(100)
    interval = bootstrap_intervals(["roc_auc"], expected, probabilities)["roc_auc"]
    assert (interval.low, interval.high) == (None, None)
    assert interval.undefined_share == pytest.approx(0.99**100, abs=0.05)
    assert interval.reason == f"undefined in {interval.undefined_share:.1%} of the resamples, allowed are 5%"


def test_a_metric_without_a_value_has_no_interval_but_its_reason() -> None:
    intervals = bootstrap_intervals(["accuracy", "recall"], [0, 0], [[0.9, 0.1], [0.2, 0.8]], resamples=50)
    assert intervals["recall"] == Interval(None, None, 1.0, "no row is positive in the labels")
    assert intervals["accuracy"].low == 0.0
    assert bootstrap_intervals(["f1"], [], np.empty((0, 2)))["f1"] == Interval(None, None, 1.0, "no rows")


def test_a_collapsed_model_has_the_interval_zero_to_zero() -> None:
    probabilities = np.tile([0.3, 0.7], (60, 1))
    interval = bootstrap_intervals(["matthews_correlation"], [0] * 20 + [1] * 40, probabilities)["matthews_correlation"]
    assert interval == Interval(0.0, 0.0)


def test_the_bootstrap_never_warns_on_tiny_data() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for classes in (2, 3):
            found = bootstrap_intervals(list(METRICS), *rows_of_a_run(4, classes), resamples=200)
            assert set(found) == set(METRICS)


def test_the_bootstrap_refuses_wrong_settings_and_values() -> None:
    expected, probabilities = rows_of_a_run(10)
    with pytest.raises(FinetuneError, match="at least one resample"):
        bootstrap_intervals(["accuracy"], expected, probabilities, resamples=0)
    with pytest.raises(FinetuneError, match="between 0 and 1"):
        bootstrap_intervals(["accuracy"], expected, probabilities, confidence=95)
    with pytest.raises(RecipeError, match="unknown metric"):
        bootstrap_intervals(["nothing"], expected, probabilities)
    with pytest.raises(RecipeError, match="unknown metric"):
        weighted_values(["nothing"], expected, probabilities, np.ones((1, 10)))
    with pytest.raises(InvalidResultError):
        bootstrap_intervals(["accuracy"], expected, probabilities * math.nan)


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
