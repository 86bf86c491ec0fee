"""Two runs on the same rows: how far apart they are on every metric, and what may be concluded.

Owns which test a verdict rests on, and its words. Reading runs is `compared_runs`, the tests themselves are `paired_tests`, the rows on
which runs disagree `compared_rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from finetune.answers import Answers, AnyAnswers
from finetune.compared_rows import Rows, find_differing_rows, find_gaps
from finetune.comparison_records import McNemar, MetricDifference, PairComparison
from finetune.enough_rows import too_few_rows
from finetune.ensembles import average_answers
from finetune.metrics import METRICS, MetricValue
from finetune.paired_tests import (
    LEVEL,
    POWER,
    bootstrap_p_value,
    compare_seeds,
    count_pairs,
    detectable_difference,
    resampled_p_value,
    variance_over_both_seeds,
)
from finetune.resampling import Resampling, randomisation_differences
from finetune.statistics import (
    Variance,
    degrees_of_freedom,
    percentile_interval,
    standard_error_and_quantile,
    variance_over_rows,
)
from finetune.weighted_values import Values
from finetune.wording import count_of, format_difference, format_p_value, format_score_value, metric_title

Test = Literal["seeds and rows", "randomisation", "paired bootstrap", "none"]


@dataclass(frozen=True)
class MeasuredRun:
    """A run's answers to the compared rows, with every metric of them.

    Attributes:
        seeds: the answers of each seed.
        main: those of the only seed, of the seed-averaged ensemble, or of the saved seed where there is none.
        values: by metric, of each seed.
        mean: by metric, the mean over seeds, or why it is undefined.
        resampled: by metric, each seed on resampled rows (seeds, resamples); only of metrics that have a mean.
    """

    name: str
    seeds: tuple[AnyAnswers, ...]
    main: AnyAnswers
    values: Mapping[str, tuple[float, ...]]
    mean: Mapping[str, MetricValue]
    resampled: Mapping[str, Values]


@dataclass(frozen=True)
class MeasuredPair:
    """Two runs with their differences, that of the verdict first, and the p-value which the verdict rests on."""

    first: MeasuredRun
    second: MeasuredRun
    differences: tuple[MetricDifference, ...]
    test: Test
    p_value: float | None


def measure_pair(
    first: MeasuredRun,
    second: MeasuredRun,
    names: Sequence[str],
    resampling: Resampling,
    resamples: int,
    randomisations: int,
) -> MeasuredPair:
    """Return the differences of two runs on every metric; the first of `names` is that of the verdict."""
    swapped: dict[str, Values] = {}
    if len(first.seeds) == len(second.seeds):
        defined = [name for name in names if name in first.resampled and name in second.resampled]
        for some, count in (
            ([name for name in defined if name == names[0]], randomisations),
            ([name for name in defined if name != names[0]], resamples),
        ):
            swapped |= randomisation_differences(some, first.seeds, second.seeds, resampling, count)
    differences = tuple(_measure_difference(name, first, second, resampling, swapped.get(name)) for name in names)
    chosen = differences[0]
    tests: dict[Test, float | None] = {
        "seeds and rows": chosen.p_seeds,
        "randomisation": chosen.p_randomisation,
        "paired bootstrap": chosen.p_bootstrap,
    }
    test, p_value = next(((test, value) for test, value in tests.items() if value is not None), ("none", None))
    return MeasuredPair(first, second, differences, test, p_value)


def _measure_difference(
    name: str, first: MeasuredRun, second: MeasuredRun, resampling: Resampling, swapped: Values | None
) -> MetricDifference:
    """Return the difference in one metric; `swapped` (resamples,) are those of answers swapped at random."""
    one, two = first.mean[name], second.mean[name]
    figures: dict[str, float] = {}
    reason = _join_reasons((first.name, one.reason), (second.name, two.reason))
    if one.value is not None and two.value is not None:
        figures["difference"] = two.value - one.value
        reason = too_few_rows(name, first.main, resampling)
        if swapped is not None and (p_value := resampled_p_value(figures["difference"], swapped)) is not None:
            figures["p_randomisation"] = p_value
    if not reason:
        drawn = second.resampled[name].mean(axis=0) - first.resampled[name].mean(axis=0)
        interval = percentile_interval(drawn)
        reason = interval.reason
        if interval.low is not None and interval.high is not None:
            figures |= {"low": interval.low, "high": interval.high}
            figures |= _test_rows(figures["difference"], drawn)
            if min(len(first.seeds), len(second.seeds)) > 1:
                rows = variance_over_rows(first.resampled[name], resampling.units, second.resampled[name])
                figures |= _test_seeds(first.values[name], second.values[name], rows)
    unknown = dict.fromkeys(("difference", "low", "high", "p_randomisation", "p_bootstrap", "detectable"))
    return MetricDifference.model_validate(
        {
            **unknown,
            "metric": name,
            "higher_is_better": METRICS[name].higher_is_better,
            "first": one.value,
            "second": two.value,
            **figures,
            "reason": reason,
        }
    )


def _join_reasons(*reasons: tuple[str, str]) -> str:
    """Return why a metric of two runs is undefined, naming the run where only one has the reason."""
    given = {reason for _, reason in reasons if reason}
    if len(given) == 1 and all(reason for _, reason in reasons):
        return given.pop()
    return "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)


def _test_rows(difference: float, drawn: Values) -> dict[str, float]:
    """Return what the paired bootstrap says, with the models held fixed."""
    figures = {}
    if (p_value := bootstrap_p_value(difference, drawn)) is not None:
        figures["p_bootstrap"] = p_value
    # Two runs that answer alike differ in no resample, which says nothing of what rows could show.
    if (error := float(np.nanstd(drawn, ddof=1))) > 0:
        figures["detectable"] = detectable_difference(error)
    return figures


def _test_seeds(first: Sequence[float], second: Sequence[float], rows: Variance) -> dict[str, float]:
    """Return interval and p-value of a difference of means over seeds, and the smallest that could be shown."""
    over = compare_seeds(first, second, rows)
    figures = {"seeds_low": over.low, "seeds_high": over.high, "p_seeds": over.p_value}
    sources = [variance_over_both_seeds(first, second), rows]
    error, quantile = standard_error_and_quantile(sources)
    if error > 0:
        from scipy.special import nctdtrinc

        # The noncentrality at which a t-test with these degrees of freedom rejects with the wanted power.
        needed = float(nctdtrinc(degrees_of_freedom(sources), 1 - POWER, quantile))
        figures["seeds_detectable"] = needed * error
    return figures


def conclude(pair: MeasuredPair, p_adjusted: float | None, pairs: int, rows: Rows) -> PairComparison:
    """Return the record of a pair, whose p-value was adjusted for `pairs` of them."""
    chosen = pair.differences[0]
    first, second = pair.first, pair.second
    better: Literal["first", "second", "neither"] = "neither"
    if p_adjusted is not None and p_adjusted < LEVEL and chosen.difference:
        better = "second" if (chosen.difference > 0) == chosen.higher_is_better else "first"
    return PairComparison(
        first=first.name,
        second=second.name,
        metric=chosen.metric,
        differences=list(pair.differences),
        test=pair.test,
        p_value=pair.p_value,
        p_adjusted=p_adjusted,
        better=better,
        verdict=_write_verdict(pair, better, p_adjusted, pairs),
        basis=_write_basis(pair),
        answers=_name_answers(first, second),
        **_compare_rows(first.main, second.main, rows),
    )


def _compare_rows(first: AnyAnswers, second: AnyAnswers, rows: Rows) -> dict[str, Any]:
    """Return the part of a record that speaks of single rows."""
    if not isinstance(first, Answers) or not isinstance(second, Answers):
        gaps, gap_of = find_gaps(first, second, rows)
        return {"mcnemar": None, "agreement": None, "differing": None, "examples": [], "gaps": gaps, "gap_of": gap_of}
    is_same = first.predicted == second.predicted
    return {
        "mcnemar": McNemar(**asdict(count_pairs(first.is_right, second.is_right))),
        "agreement": float(is_same.mean()),
        "differing": int((~is_same).sum()),
        "examples": find_differing_rows(first, second, rows),
    }


def _write_verdict(pair: MeasuredPair, better: str, p_adjusted: float | None, pairs: int) -> str:
    """Return the verdict on two runs in a sentence, with the p-value."""
    chosen, first, second = pair.differences[0], pair.first.name, pair.second.name
    title = metric_title(chosen.metric)
    if p_adjusted is None:
        state = "is undefined" if chosen.difference is None else "can't be tested"
        return f"There is no verdict on {first} and {second}: {title} {state} ({chosen.reason})"
    is_of_seeds = pair.test == "seeds and rows"
    low, high = (chosen.seeds_low, chosen.seeds_high) if is_of_seeds else (chosen.low, chosen.high)
    interval = f" (no interval: {chosen.reason})" if chosen.reason else ""
    corrected = f" after Holm's correction for {pairs} pairs" if pairs > 1 else ""
    measured = (
        f"{title} {format_difference(chosen.difference, low, high, chosen.metric)}{interval} from {first} to {second}, "
        f"{format_p_value(p_adjusted)}{corrected}"
    )
    if better != "neither":
        winner, loser = (second, first) if better == "second" else (first, second)
        return f"{winner} is better than {loser}: {measured}"
    detectable = chosen.seeds_detectable if is_of_seeds else chosen.detectable
    of_what = "rows and seeds" if is_of_seeds else "rows"
    shown = format_score_value(detectable, chosen.metric) if detectable else ""
    could = f"; these {of_what} could have shown a difference of {shown}" if shown else ""
    return f"There is no evidence of a difference between {first} and {second}: {measured}{could}"


def _write_basis(pair: MeasuredPair) -> str:
    """Return which test the verdict rests on, and what it says nothing of."""
    of_models = "it speaks of these trained models on other such rows, not of other seeds"
    counts = [len(run.seeds) for run in (pair.first, pair.second)]
    if pair.test == "seeds and rows":
        return (
            f"Rests on Welch's test over the seeds ({counts[0]} and {counts[1]}), with the rows as a further source of "
            "variance: it speaks of other seeds and other such rows."
        )
    if pair.test == "randomisation":
        return f"Rests on approximate randomisation over the rows: {of_models}."
    if pair.test == "paired bootstrap":
        why = f", since the runs have {counts[0]} and {count_of(counts[1], 'seed')}" if counts[0] != counts[1] else ""
        return f"Rests on the paired bootstrap over the rows{why}: {of_models}."
    return "Nothing can be tested."


def _name_answers(first: MeasuredRun, second: MeasuredRun) -> str:
    """Return whose answers stand for two runs where each row needs one answer."""
    if len(first.seeds) == len(second.seeds) == 1:
        return "the single seeds"
    # Language models have no ensemble.
    several = "ensemble" if average_answers([first.main]) is not None else "saved seed"
    if min(len(first.seeds), len(second.seeds)) > 1:
        return f"the {several}s of seeds" if several == "ensemble" else "the saved seeds"
    of_each = [f"the {several if len(run.seeds) > 1 else 'single seed'} of {run.name}" for run in (first, second)]
    return " and ".join(of_each)
