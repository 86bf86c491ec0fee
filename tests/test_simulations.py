"""Intervals and tests keep their promises: thousands of made-up test sets whose truth is known, through the project's functions.

A rate of 4,000 replicates has a standard error of 0.34 %. Rates are printed: `pytest -m simulation -rP`.
"""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from finetune.answers import Answers
from finetune.metrics import score
from finetune.paired_tests import (
    LEVEL,
    bootstrap_p_value,
    compare_seeds,
    count_pairs,
    holm,
    resampled_p_value,
)
from finetune.resampling import (
    BY_ROWS,
    Resampling,
    bootstrap_values,
    choose_resampling,
    randomisation_differences,
    slice_differences,
)
from finetune.statistics import (
    Interval,
    interval_over_seeds_and_rows,
    percentile_interval,
    variance_over_rows,
)
from finetune.weighted_metrics import weigh

pytestmark = pytest.mark.simulation

REPLICATES = 4000
ROWS = 500
RESAMPLES = 400
COVERED = (0.935, 0.965)
REJECTED = (0.035, 0.065)
PLAIN = Resampling(BY_ROWS, (np.arange(ROWS),))


def check(claim: str, hits: int, low: float, high: float) -> None:
    """Print the rate of a claim and hold it between its bounds."""
    rate = hits / REPLICATES
    print(f"{claim}: {rate:.2%}, allowed {low:.1%} to {high:.1%}")
    assert low <= rate <= high, f"{claim}: {rate:.2%}"


def holds(interval: Interval, value: float) -> bool:
    """Say whether an interval, which there must be, holds a value."""
    assert interval.low is not None and interval.high is not None
    return interval.low <= value <= interval.high


# A population of two labels: row's label, then a score that is normal round 0 or SIGNAL, then a probability that is too bold.
POSITIVE, SIGNAL, SLOPE, INTERCEPT = 0.6, 1.5, 2.0, -1.2


def answers_of_scores(expected: np.ndarray, scores: np.ndarray) -> Answers:
    """Return the answers of a model that makes probabilities of scores (rows,)."""
    positive = 1 / (1 + np.exp(-(INTERCEPT + SLOPE * scores)))
    return Answers(expected, (positive > 0.5).astype(np.int64), np.stack([1 - positive, positive], axis=1))


def draw_answers(generator: np.random.Generator, rows: int = ROWS) -> Answers:
    """Return answers to rows of that population."""
    expected = (generator.random(rows) < POSITIVE).astype(np.int64)
    return answers_of_scores(expected, generator.normal(SIGNAL * expected))


def true_values() -> dict[str, float]:
    """Return the metrics of the whole population, in closed form; the log loss is an integral."""
    cut = -INTERCEPT / SLOPE
    right = {0: (1 - POSITIVE) * norm.cdf(cut), 1: POSITIVE * norm.sf(cut, SIGNAL)}
    of_label, as_label = {0: 1 - POSITIVE, 1: POSITIVE}, {}
    as_label[1] = right[1] + of_label[0] - right[0]
    as_label[0] = 1 - as_label[1]
    margins = math.prod((*of_label.values(), *as_label.values()))

    def loss(label: int) -> float:
        sign = 1 if label else -1
        integrand = lambda x: norm.pdf(x, SIGNAL * label) * np.logaddexp(0, -sign * (INTERCEPT + SLOPE * x))  # noqa: E731
        return quad(integrand, -10, 12)[0]

    return {
        "accuracy": right[0] + right[1],
        "matthews_correlation": (right[1] - of_label[1] * as_label[1]) / math.sqrt(margins),
        "macro_f1": sum(2 * right[label] / (of_label[label] + as_label[label]) for label in (0, 1)) / 2,
        "roc_auc": norm.cdf(SIGNAL / math.sqrt(2)),
        "log_loss": of_label[0] * loss(0) + of_label[1] * loss(1),
    }


def test_the_truth_is_that_of_a_million_rows() -> None:
    answers = draw_answers(np.random.default_rng(0), 1_000_000)
    for name, value in true_values().items():
        assert score(name, answers).value == pytest.approx(value, abs=0.003), name


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth, generator = true_values(), np.random.default_rng(1)
    covered = dict.fromkeys(truth, 0)
    for replicate in range(REPLICATES):
        # What bootstrap_intervals does, without the observed values by scikit-learn, which would take most of the time.
        drawn = bootstrap_values(list(truth), [draw_answers(generator)], PLAIN, RESAMPLES, seed=replicate)
        for name, value in truth.items():
            covered[name] += holds(percentile_interval(drawn[name][0]), value)
    for name, hits in covered.items():
        check(f"95 % interval of {name} covers", hits, *COVERED)


def test_intervals_of_paired_differences_cover_the_true_difference() -> None:
    truth, generator = norm.cdf(1.2 / math.sqrt(2)) - norm.cdf(1.0 / math.sqrt(2)), np.random.default_rng(2)
    covered = 0
    for replicate in range(REPLICATES):
        ease, expected = generator.normal(1.0, 1.0, ROWS), generator.integers(0, 2, ROWS)
        models = [right_where(ease + shift + generator.normal(size=ROWS) > 0, expected) for shift in (0.0, 0.2)]
        drawn = bootstrap_values(["accuracy"], models, PLAIN, RESAMPLES, seed=replicate)["accuracy"]
        covered += holds(percentile_interval(drawn[1] - drawn[0]), truth)
    check("95 % interval of a paired difference covers", covered, *COVERED)


def right_where(is_right: np.ndarray, expected: np.ndarray) -> Answers:
    """Return the answers of a model that is right on these rows."""
    predicted = np.where(is_right, expected, 1 - expected)
    return Answers(expected, predicted, np.eye(2)[predicted])


def draw_seeds(
    generator: np.random.Generator, seeds: int, of_seeds: float, of_both: float, ease: np.ndarray, expected: np.ndarray
) -> list[Answers]:
    """Return seeds that share which rows are easy (rows,), and differ as a whole and row by row."""
    return [
        right_where(ease + generator.normal(1, of_seeds) + generator.normal(0, of_both, ROWS) > 0, expected)
        for _ in range(seeds)
    ]


@pytest.mark.parametrize(("seeds", "of_seeds", "of_both"), [(5, 0.15, 1.0), (5, 0.05, 0.5), (3, 0.1, 1.0)])
def test_intervals_over_seeds_and_rows_cover_the_true_mean(seeds: int, of_seeds: float, of_both: float) -> None:
    truth = norm.cdf(1 / math.sqrt(1 + of_seeds**2 + of_both**2))
    generator = np.random.default_rng(3)
    covered = 0
    for replicate in range(REPLICATES):
        ease, expected = generator.normal(0, 1, ROWS), generator.integers(0, 2, ROWS)
        models = draw_seeds(generator, seeds, of_seeds, of_both, ease, expected)
        drawn = bootstrap_values(["accuracy"], models, PLAIN, 200, seed=replicate)["accuracy"]
        values = [float(answers.is_right.mean()) for answers in models]
        covered += holds(interval_over_seeds_and_rows(values, variance_over_rows(drawn, ROWS)), truth)
    check(f"95 % interval over {seeds} seeds (spread {of_seeds}, by row {of_both}) and rows covers", covered, *COVERED)


def test_runs_of_several_seeds_that_do_not_differ_are_called_different_at_the_level() -> None:
    generator = np.random.default_rng(4)
    rejected = 0
    for replicate in range(REPLICATES):
        # What is easy is partly so for both runs, partly for all seeds of one.
        shared, expected = generator.normal(0, 0.8, ROWS), generator.integers(0, 2, ROWS)
        first, second = (
            draw_seeds(generator, 4, 0.1, 0.6, shared + generator.normal(0, 0.6, ROWS), expected) for _ in range(2)
        )
        drawn = bootstrap_values(["accuracy"], [*first, *second], PLAIN, 200, seed=replicate)["accuracy"]
        values = [[float(answers.is_right.mean()) for answers in side] for side in (first, second)]
        found = compare_seeds(values[0], values[1], variance_over_rows(drawn[:4], ROWS, drawn[4:]))
        rejected += found.p_value < LEVEL
    check("test over seeds and rows rejects a true null", rejected, *REJECTED)


def draw_equal_models(count: int, generator: np.random.Generator, rows: int = ROWS) -> list[Answers]:
    """Return models of the same true metrics that find the same rows hard."""
    expected = (generator.random(rows) < POSITIVE).astype(np.int64)
    shared = generator.normal(SIGNAL * expected, math.sqrt(0.5))
    return [answers_of_scores(expected, shared + generator.normal(0, math.sqrt(0.5), rows)) for _ in range(count)]


def values_of(names: list[str], answers: Answers) -> dict[str, float]:
    """Return metrics by weights of one rather than by scikit-learn, which would take most of the time."""
    found = weigh(answers).values(names, np.ones((1, len(answers)), dtype=np.int32))
    return {name: float(values[0]) for name, values in found.items()}


def is_rejected(p_value: float | None) -> bool:
    """Say whether a p-value, which there must be, is below the level."""
    assert p_value is not None
    return p_value < LEVEL


def test_randomisation_and_paired_bootstrap_reject_a_true_null_at_their_level() -> None:
    generator = np.random.default_rng(5)
    names = ["accuracy", "matthews_correlation", "roc_auc", "log_loss"]
    by_swaps, by_bootstrap = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for replicate in range(REPLICATES):
        first, second = draw_equal_models(2, generator)
        one, two = values_of(names, first), values_of(names, second)
        swapped = randomisation_differences(names, [first], [second], PLAIN, 160, seed=replicate)
        drawn = bootstrap_values(names, [first, second], PLAIN, 240, seed=replicate)
        for name in names:
            observed = two[name] - one[name]
            by_swaps[name] += is_rejected(resampled_p_value(observed, swapped[name]))
            by_bootstrap[name] += is_rejected(bootstrap_p_value(observed, drawn[name][1] - drawn[name][0]))
    for name in names:
        check(f"approximate randomisation of {name} rejects a true null", by_swaps[name], *REJECTED)
        check(f"paired bootstrap of {name} rejects a true null", by_bootstrap[name], *REJECTED)


def test_mcnemar_rejects_a_true_null_at_its_level() -> None:
    generator = np.random.default_rng(6)
    exact = mid = 0
    for _ in range(REPLICATES):
        first, second = draw_equal_models(2, generator)
        found = count_pairs(first.is_right, second.is_right)
        exact += found.p_exact < LEVEL
        mid += found.p_mid < LEVEL
    check("mid-p McNemar rejects a true null", mid, *REJECTED)
    check("exact McNemar rejects a true null", exact, 0.0, 0.055)


@pytest.mark.parametrize("different", [0, 1])
def test_holms_correction_keeps_the_rate_of_any_false_finding(different: int) -> None:
    generator = np.random.default_rng(7)
    wrong = 0
    for _ in range(REPLICATES):
        models = draw_equal_models(4, generator)
        if different:
            models[0] = right_where(generator.random(ROWS) < 0.9, models[0].expected)
        pairs = list(combinations(range(4), 2))
        adjusted = holm([count_pairs(models[one].is_right, models[other].is_right).p_mid for one, other in pairs])
        wrong += any(
            value is not None and value < LEVEL
            for pair, value in zip(pairs, adjusted, strict=True)
            if not (different and 0 in pair)
        )
    check(
        f"Holm's correction of all pairs of four runs, {different} different, finds a false difference",
        wrong,
        0.0,
        0.065,
    )


@pytest.mark.parametrize("name", ["accuracy", "matthews_correlation", "log_loss"])
def test_slices_that_do_not_differ_are_flagged_at_the_level(name: str) -> None:
    generator = np.random.default_rng(8)
    is_inside = np.arange(ROWS) < 150
    rejected = 0
    for replicate in range(REPLICATES):
        answers = draw_answers(generator)
        inside, outside = values_of([name], answers[is_inside]), values_of([name], answers[~is_inside])
        drawn = slice_differences(name, answers, is_inside, PLAIN, 160, seed=replicate)
        rejected += is_rejected(resampled_p_value(inside[name] - outside[name], drawn))
    check(f"permutation of a slice's {name} rejects a true null", rejected, *REJECTED)


def test_slices_of_groups_that_do_not_differ_are_flagged_at_the_level() -> None:
    generator = np.random.default_rng(9)
    rejected = 0
    groups = np.repeat(np.arange(100), 5)
    for replicate in range(REPLICATES):
        expected = generator.integers(0, 2, ROWS)
        ease = 1 + np.repeat(generator.normal(size=100), 5) + generator.normal(size=ROWS)
        answers = right_where(ease > 0, expected)
        resampling = choose_resampling(expected, [str(group) for group in groups])
        is_inside = groups < 30
        observed = answers.is_right[is_inside].mean() - answers.is_right[~is_inside].mean()
        drawn = slice_differences("accuracy", answers, is_inside, resampling, 160, seed=replicate)
        rejected += is_rejected(resampled_p_value(float(observed), drawn))
    check("permutation of a slice of whole groups rejects a true null", rejected, *REJECTED)
