"""finetune.paired_tests: p-values, Holm's correction and what rows could show, against scipy, statsmodels and enumeration."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from finetune.class_metrics import log_losses
from finetune.metrics import score
from finetune.paired_tests import (
    bootstrap_p_value,
    compare_seeds,
    count_pairs,
    detectable_difference,
    holm,
    resampled_p_value,
    variance_over_both_seeds,
)
from finetune.resampling import BY_ROWS, Resampling, bootstrap_values, randomisation_differences
from finetune.statistics import Variance, variance_of_mean
from tests.made_answers import answer_alike, make_answers

ROWS = Resampling(BY_ROWS, (np.arange(150),))


def test_a_p_value_counts_the_observed_difference_among_those_of_the_null() -> None:
    null = np.array([-0.3, -0.1, 0.0, 0.1, 0.2, 0.4])
    assert resampled_p_value(0.2, null) == pytest.approx((1 + 3) / 7)
    assert resampled_p_value(-0.2, null) == pytest.approx((1 + 3) / 7)
    assert resampled_p_value(0.0, null) == 1.0
    assert resampled_p_value(9.0, null) == pytest.approx(1 / 7)


def test_differences_that_are_equal_but_for_rounding_are_as_extreme() -> None:
    assert 0.1 + 0.2 != 0.3
    assert resampled_p_value(0.1 + 0.2, np.array([0.3, -0.3, 0.0])) == pytest.approx(3 / 4)


def test_a_p_value_leaves_out_resamples_without_a_value_and_is_none_where_they_are_most() -> None:
    assert resampled_p_value(0.2, np.array([0.3, 0.1, math.nan])) == pytest.approx(2 / 3)
    assert resampled_p_value(0.2, np.array([0.3, math.nan, math.nan])) is None
    assert resampled_p_value(math.nan, np.array([0.3, 0.1])) is None
    assert bootstrap_p_value(math.nan, np.array([0.3, 0.1])) is None


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_the_p_value_of_randomisation_equals_that_of_scipy(name: str) -> None:
    first = make_answers(150)
    second = answer_alike(first, seed=3, share=0.4)
    observed = score(name, second).value - score(name, first).value  # type: ignore[operator]
    ours = resampled_p_value(observed, randomisation_differences([name], [first], [second], ROWS, 20_000)[name])
    of_rows = [
        answers.is_right if name == "accuracy" else log_losses(answers.expected, answers.probabilities)
        for answers in (first, second)
    ]
    oracle = scipy.stats.permutation_test(
        of_rows,
        lambda left, right, axis: np.mean(right, axis=axis) - np.mean(left, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(3),
    )
    assert observed == pytest.approx(oracle.statistic)
    assert 0.01 < oracle.pvalue < 0.9
    assert ours == pytest.approx(oracle.pvalue, abs=4 * math.sqrt(2 * oracle.pvalue * (1 - oracle.pvalue) / 20_000))


# The accuracies of 150 rows differ by steps, of which the observed one counts whole: half a step more than for a normal.
@pytest.mark.parametrize(("name", "half_step"), [("accuracy", 0.5 / 150), ("roc_auc", 0.0), ("log_loss", 0.0)])
def test_the_p_value_of_the_paired_bootstrap_is_nearly_that_of_a_normal(name: str, half_step: float) -> None:
    first = make_answers(150)
    second = answer_alike(first, seed=3, share=0.4)
    drawn = bootstrap_values([name], [first, second], ROWS, 10_000)[name]
    differences = drawn[1] - drawn[0]
    observed = score(name, second).value - score(name, first).value  # type: ignore[operator]
    normal = 2 * scipy.stats.norm.sf((abs(observed) - half_step) / differences.std())
    assert 0.01 < normal < 0.9
    assert bootstrap_p_value(observed, differences) == pytest.approx(normal, abs=0.03)
    assert bootstrap_p_value(observed + 3 * differences.std(), differences + 3 * differences.std()) < 0.05


def pairs(both_right: int, only_first: int, only_second: int, both_wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows each of two runs has right."""
    counts = [both_right, only_first, only_second, both_wrong]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


counts = st.integers(0, 40)


@settings(max_examples=200, deadline=None)
@given(both_right=counts, only_first=counts, only_second=counts, both_wrong=counts)
def test_mcnemar_equals_statsmodels_and_the_sum_of_binomial_probabilities(
    both_right: int, only_first: int, only_second: int, both_wrong: int
) -> None:
    found = count_pairs(*pairs(both_right, only_first, only_second, both_wrong))
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (
        both_right,
        only_first,
        only_second,
        both_wrong,
    )
    oracle = mcnemar([[both_right, only_first], [only_second, both_wrong]], exact=True)
    assert found.p_exact == pytest.approx(oracle.pvalue, abs=1e-12)
    # Fagerland, Lydersen and Laake (2013): outcomes less probable than the observed count whole, equal ones half.
    discordant = only_first + only_second
    likelihoods = [math.comb(discordant, k) / 2**discordant for k in range(discordant + 1)]
    observed = likelihoods[only_first]
    mid = sum(p if p < observed * (1 - 1e-12) else p / 2 for p in likelihoods if p <= observed * (1 + 1e-12))
    assert found.p_mid == pytest.approx(mid if discordant else 1.0, abs=1e-12)
    assert found.p_mid <= found.p_exact


@pytest.mark.parametrize(
    ("only_first", "only_second", "exact", "mid"),
    [
        # The examples of Fagerland, Lydersen and Laake (2013): airway hyper-responsiveness before and after a transplantation of
        # stem cells, and complete response before and after a treatment.
        (1, 7, 0.0703, 0.0391),
        (6, 16, 0.0525, 0.0347),
        (0, 0, 1.0, 1.0),
        (1, 0, 1.0, 0.5),
        (1, 1, 1.0, 0.75),
    ],
)
def test_mcnemar_of_published_and_of_tiny_tables(only_first: int, only_second: int, exact: float, mid: float) -> None:
    found = count_pairs(*pairs(12, only_first, only_second, 12))
    assert found.p_exact == pytest.approx(exact, abs=6e-5)
    assert found.p_mid == pytest.approx(mid, abs=6e-5)
    swapped = count_pairs(*pairs(12, only_second, only_first, 12))
    assert (swapped.p_exact, swapped.p_mid) == (found.p_exact, found.p_mid)


def test_mcnemar_of_many_rows_keeps_its_precision() -> None:
    found = count_pairs(*pairs(10_000, 20_300, 20_000, 10_000))
    oracle = scipy.stats.binomtest(20_000, 40_300)
    assert found.p_exact == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.p_mid == pytest.approx(oracle.pvalue - scipy.stats.binom.pmf(20_000, 40_300, 0.5), rel=1e-9)


def test_mcnemar_without_rows_shows_nothing() -> None:
    none = np.zeros(0, dtype=bool)
    assert (count_pairs(none, none).p_exact, count_pairs(none, none).p_mid) == (1.0, 1.0)


p_values = st.lists(st.none() | st.floats(0, 1) | st.sampled_from([0.01, 0.05]), max_size=12)


@settings(max_examples=30, deadline=None)
@given(values=p_values)
def test_holm_equals_statsmodels_and_leaves_undefined_values_out(values: list[float | None]) -> None:
    adjusted = holm(values)
    assert [value is None for value in adjusted] == [value is None for value in values]
    defined = [value for value in values if value is not None]
    if defined:
        oracle = multipletests(defined, method="holm")[1]
        np.testing.assert_allclose([value for value in adjusted if value is not None], oracle, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_value_nor_changes_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    for (raw, corrected), (other_raw, other_corrected) in itertools.product(
        zip(values, adjusted, strict=True), repeat=2
    ):
        assert raw <= corrected <= 1  # type: ignore[operator]
        assert raw > other_raw or corrected <= other_corrected  # type: ignore[operator]


def test_the_detectable_difference_has_the_power_that_statsmodels_says() -> None:
    for error in (0.01, 0.2):
        found = detectable_difference(error)
        # Effects are in standard deviations of one observation; with ratio 0 there is one sample.
        power = NormalIndPower(ddof=0).power(found / (error * 10), nobs1=100, alpha=0.05, ratio=0)
        assert power == pytest.approx(0.8, abs=1e-4)


def test_a_difference_of_that_size_is_found_in_four_of_five_test_sets() -> None:
    generator = np.random.default_rng(0)
    rows, disagreement = 1000, 0.2
    size = detectable_difference(math.sqrt(disagreement / rows))
    found = 0
    for _ in range(2000):
        kinds = generator.multinomial(
            rows, [disagreement / 2 - size / 2, disagreement / 2 + size / 2, 1 - disagreement]
        )
        found += count_pairs(*pairs(0, kinds[0], kinds[1], kinds[2])).p_mid < 0.05
    assert found / 2000 == pytest.approx(0.8, abs=0.035)


values = st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=8)


@settings(max_examples=200, deadline=None)
@given(first=values, second=values)
def test_seeds_on_rows_that_vary_not_at_all_are_compared_by_the_test_of_welch(
    first: list[float], second: list[float]
) -> None:
    found = compare_seeds(first, second, Variance(0.0, 99))
    if np.ptp(first) == np.ptp(second) == 0:
        difference = pytest.approx(second[0] - first[0])
        assert (found.low, found.high) == (difference, difference)
        assert found.p_value == (1.0 if found.low == 0 else 0.0)
        return
    with warnings.catch_warnings():
        # scipy warns of values that are all the same, for which nothing is lost.
        warnings.simplefilter("ignore")
        oracle = scipy.stats.ttest_ind(second, first, equal_var=False)
    interval = oracle.confidence_interval()
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (found.low, found.high) == (pytest.approx(interval.low, abs=1e-9), pytest.approx(interval.high, abs=1e-9))


def test_single_seeds_are_compared_over_rows_alone() -> None:
    found = compare_seeds([0.5], [0.6], Variance(0.04**2, 1e9))
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(0.1 / 0.04))
    assert (found.low, found.high) == (
        pytest.approx(0.1 - 1.96 * 0.04, abs=1e-4),
        pytest.approx(0.1 + 1.96 * 0.04, abs=1e-4),
    )
    assert variance_over_both_seeds([0.5], [0.6]).value == 0


def test_the_variance_over_seeds_is_of_the_run_that_has_several() -> None:
    several = [0.5, 0.6, 0.8]
    assert variance_over_both_seeds(several, [0.4]) == variance_over_both_seeds([0.4], several)
    assert variance_over_both_seeds(several, [0.4]) == variance_of_mean(several)


def test_rows_as_a_further_source_make_a_difference_of_seeds_less_sure() -> None:
    first, second = [0.50, 0.52, 0.51, 0.49], [0.56, 0.57, 0.55, 0.58]
    alone, with_rows = (compare_seeds(first, second, Variance(variance, 999)) for variance in (0.0, 0.02**2))
    assert alone.p_value < 0.001 < with_rows.p_value < 0.05
    assert with_rows.low < alone.low < 0.06 < alone.high < with_rows.high


@settings(max_examples=100, deadline=None)
@given(first=values, second=values, variance=st.floats(1e-8, 1))
def test_the_p_value_is_below_five_percent_where_the_interval_leaves_zero_out(
    first: list[float], second: list[float], variance: float
) -> None:
    found = compare_seeds(first, second, Variance(variance, 200))
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
