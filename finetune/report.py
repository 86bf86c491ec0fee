"""The report of a run, built from what its seeds measured.

Owns which figures a report holds and what it warns of first. Shows nothing (`render`) and measures nothing (`scores`).
Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.answers import AnyAnswers
from finetune.collapse import find_collapse
from finetune.findings import Decision
from finetune.metrics import get_metric, score
from finetune.recipe import Band
from finetune.records import (
    BandVerdict,
    DataRecord,
    HistoryPoint,
    Score,
    SeedRecord,
    SeedSummaryRecord,
)
from finetune.resampling import Resampling, bootstrap_values
from finetune.run_records import Measurement
from finetune.scores import ALL, pick
from finetune.slices import NOT_IN_TRAIN, Slices
from finetune.statistics import (
    Interval,
    interval_over_seeds_and_rows,
    percentile_interval,
    summary,
    too_few_rows,
    variance_over_rows,
)
from finetune.wording import format_score_value, name_predictor

ENSEMBLE = "ensemble of seeds"
SHORTEST_TEST = 100
MUCH_TRUNCATED = 0.01


@dataclass(frozen=True)
class SeedResult:
    """One seed's outcome: its answers to the test rows, and what training took.

    Attributes:
        dev_answers: its answers to the dev rows, where something was fitted on them after training.
        decision: what was fitted.
        start_answers: the answers to the test rows before training, of the first seed of an objective that is measured then.
    """

    seed: int
    answers: AnyAnswers
    measurement: Measurement
    scores: Sequence[Score]
    history: Sequence[HistoryPoint]
    dev_answers: AnyAnswers | None = None
    decision: Decision | None = None
    start_answers: AnyAnswers | None = None


def predictor_name(seed: int) -> str:
    """Return the name that a seed's scores carry where there are several."""
    return f"seed {seed}"


def build_seed_record(result: SeedResult, primary_metric: str, label_names: Sequence[str]) -> SeedRecord:
    """Return what the report says of one seed."""
    measured = pick(result.scores, primary_metric)
    on_dev = result.measurement.dev_score
    if result.dev_answers is not None:
        # What the saved model says of dev, under its own temperature and threshold.
        on_dev = score(primary_metric, result.dev_answers).value
    return SeedRecord(
        seed=result.seed,
        score=measured.value if measured else None,
        dev_score=on_dev,
        collapsed_to=find_collapse(result.answers, label_names),
        train_seconds=result.measurement.train_seconds,
        final_loss=result.measurement.final_loss,
    )


def summarise_seeds(
    results: Sequence[SeedResult], slices: Slices, resampling: Resampling, resamples: int, primary_metric: str
) -> list[SeedSummaryRecord]:
    """Return mean, deviation and intervals over seeds of each score that is defined for all of them.

    The part of the rows is measured for every metric on all rows, and for the primary metric on slices too.
    """
    names = [score.name for score in results[0].scores if score.slice == ALL]
    over_rows = {ALL: _resample(names, results, None, resampling, resamples)}
    found = []
    for first in results[0].scores:
        values = [
            same.value for result in results if (same := pick(result.scores, first.name, first.slice)) is not None
        ]
        defined = [value for value in values if value is not None]
        if len(defined) < len(results):
            continue
        if first.slice != ALL and first.name == primary_metric:
            within = slices[first.slice]
            over_rows[first.slice] = _resample([primary_metric], results, within, resampling, resamples)
        resampled, units = over_rows.get(first.slice, {}).get(first.name, (None, 0))
        made = summarise_values(first.name, first.slice, defined, resampled, units)
        is_fixed = made.rows_low is not None and made.rows_low == made.rows_high and len(set(defined)) == 1
        if first.slice == ALL and is_fixed:
            # No resample and no seed changes such rows: how far they can be believed is what a single seed says.
            ends = {
                f"{source}{end}": getattr(first, end) for source in ("", "rows_", "both_") for end in ("low", "high")
            }
            made = made.model_copy(update=ends)
        found.append(made)
    return found


def summarise_values(
    name: str, slice_name: str, values: Sequence[float], resampled: NDArray[np.float64] | None, units: int
) -> SeedSummaryRecord:
    """Return the summary of a metric's values over seeds; intervals end where the metric does.

    `resampled` are the same seeds on resampled rows (seeds, resamples), drawn from `units` rows or groups; None where they were not
    drawn or have no interval.
    """
    metric, over = get_metric(name), summary(values)
    intervals = {"": Interval(over.low, over.high)}
    if resampled is not None and (rows := percentile_interval(resampled.mean(axis=0))).low is not None:
        both = interval_over_seeds_and_rows(values, variance_over_rows(resampled, units))
        intervals |= {"rows_": rows, "both_": both}
    ends = {
        f"{source}{end}": min(metric.high, max(metric.low, value))
        for source, interval in intervals.items()
        for end, value in (("low", interval.low), ("high", interval.high))
        if value is not None
    }
    return SeedSummaryRecord.model_validate(
        {
            "low": None,
            "high": None,
            "name": name,
            "slice": slice_name,
            "values": list(values),
            "mean": over.mean,
            "standard_deviation": over.standard_deviation,
            "minimum": over.minimum,
            "maximum": over.maximum,
            "n": over.n,
            **ends,
        }
    )


def _resample(
    names: Sequence[str],
    results: Sequence[SeedResult],
    positions: NDArray[np.int64] | None,
    resampling: Resampling,
    resamples: int,
) -> dict[str, tuple[NDArray[np.float64], int]]:
    """Return each metric of each seed on resampled rows (seeds, resamples), and how many units were drawn from."""
    answers = [result.answers if positions is None else result.answers[positions] for result in results]
    how = resampling if positions is None else resampling.of_rows(answers[0].strata, positions)
    enough = [name for name in names if not too_few_rows(name, answers[0], how)]
    drawn = bootstrap_values(enough, answers, how, resamples)
    return {name: (values, how.units) for name, values in drawn.items()}


def judge_bands(
    expect: dict[str, Band], scores: Sequence[Score], summaries: Sequence[SeedSummaryRecord]
) -> list[BandVerdict]:
    """Return each band of the recipe with where the measured interval lies to it.

    Of several seeds the mean is judged, with seeds and rows as sources of its interval. Below and above mean that the whole
    interval lies there.
    """
    found = []
    for metric, band in expect.items():
        measured = pick(scores, metric, band.slice)
        verdict, reason = "not comparable", ""
        place = _place_of(measured, summaries) if measured is not None else None
        if measured is None or place is None:
            reason = "the score is undefined here"
        elif band.rows is not None and band.rows != measured.n:
            reason = f"the band speaks of {band.rows:,} rows, these are {measured.n:,}"
        else:
            value, low, high = place
            verdict = "below" if high < band.low else "above" if low > band.high else "within"
            side = "below" if value < band.low else "above" if value > band.high else ""
            if verdict == "within" and side:
                reason = f"the score itself lies {side} it, but its interval reaches into it"
        found.append(
            BandVerdict.model_validate(
                {
                    "metric": metric,
                    "slice": band.slice,
                    "low": band.low,
                    "high": band.high,
                    "source": band.source,
                    "verdict": verdict,
                    "reason": reason,
                }
            )
        )
    return found


def _place_of(measured: Score, summaries: Sequence[SeedSummaryRecord]) -> tuple[float, float, float] | None:
    """Return (value, low, high) of a score, or of its mean over seeds where there are several; None where it is undefined."""
    if measured.predictor != "model":
        over = next(
            (entry for entry in summaries if (entry.name, entry.slice) == (measured.name, measured.slice)), None
        )
        # Of several seeds the mean is judged, and it is undefined where one of them is.
        if over is None:
            return None
        low = over.low if over.both_low is None else over.both_low
        high = over.high if over.both_high is None else over.both_high
        value = over.mean
    elif measured.value is None:
        return None
    else:
        value, low, high = measured.value, measured.low, measured.high
    return value, value if low is None else low, value if high is None else high


def _whose(score: Score) -> str:
    """Return the subject of a sentence about a score."""
    return "The score" if score.predictor == "model" else f"The score of {name_predictor(score.predictor)}"


def list_data_warnings(data: DataRecord, scores: Sequence[Score], primary_metric: str) -> list[str]:
    """Return what a reader must know of the rows before believing a score, gravest first."""
    found = []
    for shared in data.shared_with_train:
        without = pick(scores, primary_metric, NOT_IN_TRAIN)
        found.append(f"{len(shared.rows)} {shared.part} rows stand in train too.")
        if shared.part == "test" and without is not None and without.value is not None:
            found[-1] += f" {_whose(without)} without them is {format_score_value(without.value, without.name)}."
    for split in data.splits:
        if split.contradictions:
            found.append(f"{split.contradictions} texts of {split.part} stand there with more than one label.")
        if split.empty:
            found.append(f"{split.empty} rows of {split.part} hold no visible character.")
        if split.truncated and split.truncated > MUCH_TRUNCATED * split.rows:
            found.append(f"{split.truncated} of {split.rows} rows of {split.part} were cut at the token limit.")
        if split.part == "test" and split.rows < SHORTEST_TEST:
            found.append(f"The test has {split.rows} rows only; expect wide intervals.")
        if split.part == "test" and split.groups is not None and split.groups < split.rows:
            found.append(
                f"The {split.rows:,} test rows come in {split.groups:,} groups of like rows; intervals and tests draw whole "
                "groups, except for slices that cut through one."
            )
        missing = [name for name, count in split.labels.items() if count == 0]
        if missing:
            found.append(f"No row of {split.part} is labelled {', '.join(missing)}.")
    found += [f"{note[:1].upper()}{note[1:]}." for note in data.notes]
    if data.dropped_train_rows:
        found.append(
            f"{data.dropped_train_rows} train rows that stand in the test were dropped, as the recipe asks; "
            "published numbers keep them."
        )
    return found
