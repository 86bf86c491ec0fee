"""finetune.regression_metrics and weighted_regression: values against scipy and scikit-learn, undefined cases, resampled rows."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.answers import RegressionAnswers, build_regression_answers
from finetune.metrics import MetricValue, list_metrics, score
from finetune.weighted_regression import WeightedNumbers
from tests.made_answers import make_numbers

NAMES = list_metrics(RegressionAnswers)
CORRELATIONS = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


@st.composite
def numbers_of_a_run(draw: st.DrawFn) -> RegressionAnswers:
    """Draw numbers with many ties, constant columns among them, of very different size."""
    count, scale, offset = draw(st.integers(1, 15)), draw(st.sampled_from([1e-6, 1.0, 1e5])), draw(st.floats(-50, 50))
    pairs = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=count, max_size=count))
    expected, predicted = np.array(pairs, dtype=np.float64).T * scale + offset
    return build_regression_answers(expected, predicted)


@pytest.mark.parametrize("digits", [1, 12])
def test_values_equal_scipy_and_scikit_learn_with_and_without_ties(digits: int) -> None:
    answers = make_numbers(200, digits=digits)
    both = answers.expected, answers.predicted
    assert score("pearson", answers).value == pytest.approx(scipy.stats.pearsonr(*both).statistic, abs=1e-12)
    assert score("spearman", answers).value == pytest.approx(scipy.stats.spearmanr(*both).statistic, abs=1e-12)
    assert score("mean_squared_error", answers).value == pytest.approx(sklearn.metrics.mean_squared_error(*both))
    assert score("mean_absolute_error", answers).value == pytest.approx(sklearn.metrics.mean_absolute_error(*both))


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize(
    ("expected", "predicted", "reason"),
    [
        ([1.5, 2.0, 3.0], [3.4, 3.4, 3.4], "every predicted number is the same"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "every expected number is the same"),
        ([1.0, 2.0], [1.0, 3.0], "fewer than 3 rows"),
        ([], [], "no rows"),
    ],
)
def test_a_correlation_without_a_value_has_a_reason(
    name: str, expected: list[float], predicted: list[float], reason: str
) -> None:
    assert score(name, build_regression_answers(expected, predicted)) == MetricValue(None, reason)


def test_a_correlation_of_two_grades_has_a_value() -> None:
    answers = build_regression_answers([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
    assert score("pearson", answers).value == pytest.approx(
        scipy.stats.pearsonr([0, 0, 1, 1], answers.predicted).statistic
    )


@settings(max_examples=100, deadline=None)
@given(answers=numbers_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_weighted_values_equal_the_metric_of_the_repeated_rows(answers: RegressionAnswers, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(answers), (4, len(answers)))
    weights = np.stack([np.bincount(rows, minlength=len(answers)) for rows in chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = WeightedNumbers(answers).values(NAMES, weights.astype(np.int32))
        for name in NAMES:
            direct = [score(name, answers[rows]).value for rows in chosen]
            expected = [math.nan if value is None else value for value in direct]
            np.testing.assert_allclose(values[name], expected, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_weighted_correlations_equal_scipy_on_the_repeated_rows(name: str) -> None:
    answers = make_numbers(150)
    weights = np.random.default_rng(0).integers(0, 4, (20, 150), dtype=np.int32)
    repeated = [answers[np.repeat(np.arange(150), row)] for row in weights]
    expected = [CORRELATIONS[name](rows.expected, rows.predicted).statistic for rows in repeated]
    np.testing.assert_allclose(WeightedNumbers(answers).values([name], weights)[name], expected, atol=1e-12)


def test_a_correlation_sees_numbers_far_from_zero_that_hardly_differ() -> None:
    generator = np.random.default_rng(0)
    expected = 1e6 + 1e-3 * generator.normal(size=300)
    answers = build_regression_answers(expected, expected + 1e-3 * generator.normal(size=300))
    whole = WeightedNumbers(answers).values(["pearson"], np.ones((1, 300), dtype=np.int32))["pearson"]
    assert whole[0] == pytest.approx(score("pearson", answers).value, abs=1e-9)
    assert whole[0] == pytest.approx(scipy.stats.pearsonr(answers.expected, answers.predicted).statistic, abs=1e-6)
