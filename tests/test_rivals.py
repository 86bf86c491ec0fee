"""The model against baselines: paired on the same rows, and clear only where it isn't noise."""

import numpy as np
import pytest

from finetune.answers import Answers, build_answers
from finetune.resampling import choose_resampling
from finetune.rivals import BY_BOOTSTRAP, BY_SEEDS, compare_with_rivals


def answers_at(rate: float, rows: int = 400, seed: int = 0) -> Answers:
    """Return answers of which a share is right, to the same questions for every seed."""
    expected = np.random.default_rng(99).integers(0, 2, rows)
    right = np.random.default_rng(seed).random(rows) < rate
    return build_answers(expected, np.eye(2)[np.where(right, expected, 1 - expected)])


def majority(rows: int = 400) -> Answers:
    return build_answers(answers_at(1.0, rows).expected, np.tile([0.4, 0.6], (rows, 1)))


def test_a_good_model_is_better_than_a_constant_and_a_coin_is_not() -> None:
    how = choose_resampling(majority().expected)
    good, coin = (
        compare_with_rivals("matthews_correlation", [answers_at(rate, seed=5)], {"constant": majority()}, how)[0]
        for rate in (0.75, 0.5)
    )
    assert good.p_value is not None and good.p_value < 0.001 and good.low is not None and good.low > 0
    assert coin.p_value is not None and coin.p_value > 0.05
    assert good.basis == BY_BOOTSTRAP


def test_the_difference_is_model_minus_baseline_on_the_same_rows() -> None:
    model, rival = answers_at(0.8, seed=1), answers_at(0.6, seed=2)
    found = compare_with_rivals("accuracy", [model], {"rival": rival}, choose_resampling(model.expected))[0]
    assert found.difference == pytest.approx(model.is_right.mean() - rival.is_right.mean())
    assert found.low is not None and found.high is not None
    # The textbook interval of a difference of paired proportions.
    gaps = model.is_right.astype(float) - rival.is_right
    half = 1.96 * gaps.std() / np.sqrt(len(gaps))
    assert (found.low, found.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=0.006)


@pytest.mark.parametrize("seed", range(12))
def test_interval_and_p_value_of_a_weak_model_agree(seed: int) -> None:
    """A model that hardly ever says yes: swapped with a constant answer at random, it would drown in noise."""
    expected = np.random.default_rng(99).integers(0, 2, 1000)
    says_yes = np.random.default_rng(seed).random(1000) < np.where(expected == 1, 0.14, 0.08)
    model = build_answers(expected, np.eye(2)[says_yes.astype(int)])
    constant = build_answers(expected, np.tile([0.4, 0.6], (1000, 1)))
    found = compare_with_rivals("matthews_correlation", [model], {"c": constant}, choose_resampling(expected))[0]
    assert found.low is not None and found.p_value is not None
    # At the edge of the level the two may differ by what 10,000 resamples leave open.
    assert (found.low > 0) == (found.p_value < 0.05) or found.p_value == pytest.approx(0.05, abs=0.02)


def test_few_rows_make_no_test() -> None:
    model = build_answers([0, 1, 0, 1], np.eye(2)[[0, 1, 0, 1]])
    constant = build_answers([0, 1, 0, 1], np.tile([0.4, 0.6], (4, 1)))
    found = compare_with_rivals("accuracy", [model], {"c": constant}, choose_resampling(model.expected))[0]
    assert (found.difference, found.p_value) == (None, None)


def test_several_seeds_are_compared_by_their_mean_with_both_sources_of_variance() -> None:
    seeds = [answers_at(rate, seed=number) for number, rate in enumerate((0.70, 0.74, 0.78))]
    how = choose_resampling(seeds[0].expected)
    found = compare_with_rivals("accuracy", seeds, {"constant": majority()}, how)[0]
    single = compare_with_rivals("accuracy", seeds[:1], {"constant": majority()}, how)[0]
    assert found.basis == BY_SEEDS
    assert found.difference == pytest.approx(
        np.mean([seed.is_right.mean() for seed in seeds]) - majority().is_right.mean()
    )
    assert None not in (found.low, found.high, single.low, single.high)
    assert found.high - found.low > 0.5 * (single.high - single.low)  # type: ignore[operator]


def test_a_metric_without_a_value_has_no_difference() -> None:
    model = build_answers([1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    found = compare_with_rivals("matthews_correlation", [model], {"same": model}, choose_resampling(model.expected))[0]
    assert (found.difference, found.p_value, found.basis) == (None, None, "undefined")


@pytest.mark.parametrize("seeds", [1, 3])
def test_where_too_many_resamples_have_no_value_nothing_is_clearly_better(seeds: int) -> None:
    # All five negative rows stand in one of 24 groups, which a third of the resamples don't draw.
    expected = np.array([0] * 5 + [1] * 115)
    model = build_answers(expected, np.eye(2)[np.r_[[0] * 4, [1] * 116]])
    constant = build_answers(expected, np.tile([0.4, 0.6], (120, 1)))
    how = choose_resampling(expected, [str(number // 5) for number in range(120)])
    found = compare_with_rivals("matthews_correlation", [model] * seeds, {"c": constant}, how)[0]
    assert (found.difference, found.low, found.p_value) == (None, None, None)
