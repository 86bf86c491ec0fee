"""From answers to scores: every metric, on all rows and on each slice, with its n and its interval.

Owns what a score is measured on. The arithmetic is in `metrics` and `statistics`, finding slices in `slices`. Imports no torch.
"""

from collections.abc import Sequence

import numpy as np

from finetune.answers import Answers, AnyAnswers
from finetune.metrics import get_metric, score
from finetune.records import Score
from finetune.resampling import choose_resampling
from finetune.slices import NOT_IN_TRAIN, SMALLEST_SLICE, Slices
from finetune.statistics import bootstrap_intervals

ALL = "all"


def score_slices(
    metrics: Sequence[str],
    answers: AnyAnswers,
    slices: Slices,
    resamples: int,
    *,
    predictor: str = "model",
    groups: Sequence[str] | None = None,
) -> list[Score]:
    """Return every metric on all rows, then on each slice; `groups` (rows,) names the group of each row where there are some."""
    found: list[Score] = []
    for name, positions in {ALL: np.arange(len(answers)), **slices}.items():
        own = [groups[position] for position in positions] if groups is not None else None
        found += score_rows(metrics, answers[positions], resamples, predictor=predictor, slice_name=name, groups=own)
    return found


def score_rows(
    metrics: Sequence[str],
    answers: AnyAnswers,
    resamples: int,
    *,
    predictor: str = "model",
    slice_name: str = ALL,
    groups: Sequence[str] | None = None,
) -> list[Score]:
    """Return every metric on the given rows with its percentile-bootstrap interval; undefined on a slice of few rows."""
    has_a_positive = not isinstance(answers, Answers) or answers.classes == 2
    usable = [name for name in metrics if has_a_positive or name not in ("f1", "precision", "recall")]
    is_small = slice_name not in (ALL, NOT_IN_TRAIN) and len(answers) < SMALLEST_SLICE
    if is_small:
        reason = f"fewer than {SMALLEST_SLICE} rows"
        return [_build_score(name, None, reason, answers, predictor, slice_name) for name in usable]
    resampling = choose_resampling(answers.strata, groups)
    intervals = bootstrap_intervals(usable, answers, resampling=resampling, resamples=resamples)
    found = []
    for name in usable:
        measured, interval = score(name, answers), intervals[name]
        reason = measured.reason or interval.reason
        made = _build_score(name, measured.value, reason, answers, predictor, slice_name)
        if measured.value is not None:
            made = made.model_copy(
                update={"low": interval.low, "high": interval.high, "resampling": resampling.description}
            )
        found.append(made)
    return found


def _build_score(
    name: str, value: float | None, reason: str, answers: AnyAnswers, predictor: str, slice_name: str
) -> Score:
    return Score(
        name=name,
        predictor=predictor,
        slice=slice_name,
        value=value,
        low=None,
        high=None,
        n=len(answers),
        higher_is_better=get_metric(name).higher_is_better,
        reason=reason,
    )


def measure_slices(
    metrics: Sequence[str], answers: AnyAnswers, slices: Slices, resamples: int, *, groups: Sequence[str] | None = None
) -> list[Score]:
    """Return the scores of one seed among several: intervals on all rows, values alone on slices."""
    found = score_rows(metrics, answers, resamples, groups=groups)
    usable = [score.name for score in found]
    for name, positions in slices.items():
        own = answers[positions]
        if len(own) >= SMALLEST_SLICE or name == NOT_IN_TRAIN:
            for metric in usable:
                measured = score(metric, own)
                found.append(_build_score(metric, measured.value, measured.reason, own, "model", name))
    return found


def pick(scores: Sequence[Score], name: str, slice_name: str = ALL, predictor: str | None = None) -> Score | None:
    """Return the first score of that name, slice and predictor (any, where None)."""
    return next(
        (
            score
            for score in scores
            if score.name == name and score.slice == slice_name and predictor in (None, score.predictor)
        ),
        None,
    )
