"""What a report concludes from its scores: bands held against intervals, seeds and rows as two sources of variance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from finetune.answers import AnyAnswers, build_answers
from finetune.collapse import find_collapse
from finetune.metrics import score
from finetune.recipe import Band
from finetune.records import Report, Score, SeedSummaryRecord
from finetune.report import ENSEMBLE, SeedResult, build_seed_record, judge_bands, summarise_seeds
from finetune.resampling import choose_resampling
from finetune.run_records import Measurement
from finetune.scores import measure_slices
from finetune.statistics import interval_of_mean
from tests.report_examples import single_seed

BAND = Band(low=0.5, high=0.6, source="somewhere", rows=400)


def score_of(
    value: float | None, low: float | None, high: float | None, n: int = 400, predictor: str = "model"
) -> Score:
    return Score(
        name="accuracy", predictor=predictor, value=value, low=low, high=high, n=n, higher_is_better=True, reason=""
    )


def seeds_at(rates: Sequence[float], rows: int = 400) -> list[SeedResult]:
    """Return seeds that are right at different rates, on the same rows."""
    expected = np.random.default_rng(7).integers(0, 2, rows)
    found = []
    for seed, rate in enumerate(rates, 1):
        right = np.random.default_rng(seed).random(rows) < rate
        answers = build_answers(expected, np.eye(2)[np.where(right, expected, 1 - expected)])
        scores = measure_slices(["accuracy", "f1"], answers, {"early": np.arange(100)}, 100)
        taken = Measurement(
            seed=seed,
            train_seconds=1.0,
            examples_seen=1,
            tokens_seen=1,
            padded_tokens_seen=1,
            final_loss=None,
            dev_score=None,
            precision="fp32",
            parameters=1,
            notes=[],
        )
        found.append(SeedResult(seed, answers, taken, scores, ()))
    return found


def summaries_of(results: list[SeedResult], resamples: int = 2000) -> dict[tuple[str, str], SeedSummaryRecord]:
    how = choose_resampling(results[0].answers.expected)
    found = summarise_seeds(results, {"early": np.arange(100)}, how, resamples, "accuracy")
    return {(entry.name, entry.slice): entry for entry in found}


@pytest.mark.parametrize(
    ("value", "low", "high", "n", "verdict", "reason"),
    [
        (0.55, 0.52, 0.58, 400, "within", ""),
        (0.48, 0.44, 0.52, 400, "within", "the score itself lies below it, but its interval reaches into it"),
        (0.63, 0.59, 0.67, 400, "within", "the score itself lies above it, but its interval reaches into it"),
        (0.40, 0.36, 0.44, 400, "below", ""),
        (0.70, 0.66, 0.74, 400, "above", ""),
        (0.40, None, None, 400, "below", ""),
        (0.55, 0.52, 0.58, 399, "not comparable", "the band speaks of 400 rows, these are 399"),
        (None, None, None, 400, "not comparable", "the score is undefined here"),
    ],
)
def test_a_band_is_held_against_the_measured_interval(
    value: float | None, low: float | None, high: float | None, n: int, verdict: str, reason: str
) -> None:
    found = judge_bands({"accuracy": BAND}, [score_of(value, low, high, n)], [])[0]
    assert (found.verdict, found.reason, found.source) == (verdict, reason, "somewhere")


def test_a_band_of_a_metric_or_slice_that_was_not_measured_is_not_comparable() -> None:
    other = Band(low=0.5, high=0.6, source="somewhere", slice="early")
    assert judge_bands({"accuracy": other}, [score_of(0.5, 0.4, 0.6)], [])[0].verdict == "not comparable"


def test_of_several_seeds_the_mean_is_judged_with_seeds_and_rows_as_its_interval() -> None:
    results = seeds_at([0.60, 0.66, 0.72])
    summaries = list(summaries_of(results).values())
    mean = np.mean([result.answers.is_right.mean() for result in results])
    # The ensemble is far above the band; the mean, whose interval over seeds and rows is wide, meets it.
    ensemble = score_of(0.9, 0.88, 0.92, predictor=ENSEMBLE)
    band = Band(low=0.5, high=float(mean) - 0.01, source="somewhere")
    found = judge_bands({"accuracy": band}, [ensemble], summaries)[0]
    assert found.verdict == "within"
    assert found.reason.startswith("the score itself lies above it")


def test_the_interval_of_the_mean_counts_seeds_rows_and_both() -> None:
    results = seeds_at([0.70, 0.72, 0.74, 0.76, 0.78])
    found = summaries_of(results)["accuracy", "all"]
    values = [score("accuracy", result.answers).value for result in results]
    over_seeds = interval_of_mean([value for value in values if value is not None])
    assert (found.low, found.high) == (over_seeds.low, over_seeds.high)
    means = [np.mean([result.answers.is_right[rows].mean() for result in results]) for rows in bootstrap_rows(400)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.rows_low == pytest.approx(low, abs=0.006)
    assert found.rows_high == pytest.approx(high, abs=0.006)
    assert found.both_low <= found.low and found.both_high >= found.high


def bootstrap_rows(rows: int) -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, rows, rows) for _ in range(3000)]


def test_slices_have_all_three_intervals_for_the_primary_metric_alone() -> None:
    found = summaries_of(seeds_at([0.70, 0.80]), 200)
    assert found["accuracy", "early"].both_low is not None
    assert found["f1", "early"].both_low is None
    assert found["f1", "early"].low is not None


def test_no_interval_reaches_beyond_what_the_metric_can_be() -> None:
    found = summaries_of(seeds_at([0.99, 0.70]), 200)
    for entry in found.values():
        ends = [entry.low, entry.high, entry.both_low, entry.both_high, entry.rows_low, entry.rows_high]
        assert all(0 <= end <= 1 for end in ends if end is not None)
    assert found["accuracy", "all"].high == 1.0


def test_a_score_that_is_undefined_for_one_seed_has_no_mean() -> None:
    results = seeds_at([0.7, 0.8])
    answers: AnyAnswers = results[0].answers
    broken = [entry.model_copy(update={"value": None}) if entry.name == "f1" else entry for entry in results[0].scores]
    results[0] = SeedResult(1, answers, results[0].measurement, broken, ())
    assert ("f1", "all") not in summaries_of(results, 200)


def test_seeds_that_are_right_on_every_row_are_believed_no_further_than_one_of_them() -> None:
    results = seeds_at([1.0, 1.0, 1.0])
    single = results[0].scores[0]
    found = summaries_of(results, 200)["accuracy", "all"]
    # Wilson's interval of 400 of 400.
    assert single.low == pytest.approx(400 / (400 + 1.96**2), abs=0.001)
    assert (found.low, found.both_low, found.rows_low) == (single.low, single.low, single.low)
    band = Band(low=0.8, high=0.995, source="somewhere")
    ensemble = score_of(1.0, single.low, 1.0, predictor=ENSEMBLE)
    assert judge_bands({"accuracy": band}, [ensemble], [found])[0].verdict == "within"


def test_a_model_that_says_the_same_of_every_row_has_collapsed_unless_every_row_is_the_same() -> None:
    always_yes = np.tile([0.2, 0.8], (20, 1))
    assert find_collapse(build_answers([0, 1] * 10, always_yes), ("no", "yes")) == "yes"
    assert find_collapse(build_answers([1] * 20, always_yes), ("no", "yes")) is None
    assert find_collapse(build_answers([0, 1] * 10, np.eye(2)[[0, 1] * 10]), ("no", "yes")) is None


def test_the_dev_score_of_a_seed_is_that_of_the_model_with_its_threshold() -> None:
    result = seeds_at([0.7])[0]
    on_dev = build_answers([0, 1, 1, 0], np.eye(2)[[0, 1, 0, 0]])
    with_dev = replace(result, dev_answers=on_dev)
    assert build_seed_record(result, "accuracy", ("no", "yes")).dev_score is None
    assert build_seed_record(with_dev, "accuracy", ("no", "yes")).dev_score == 0.75


@pytest.mark.parametrize("changes", [{"seeds": []}, {"confusion": {"labels": ["a", "b"], "counts": [[1, 2], [3]]}}])
def test_a_record_that_does_not_hold_together_is_no_report(changes: dict) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate(single_seed().model_dump() | changes)
