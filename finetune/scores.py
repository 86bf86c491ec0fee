"""From probabilities to scores: every metric, on all rows and on each slice, with its n and its interval.

Owns which rows a score is measured on. The arithmetic is in `metrics` and `statistics`. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.metrics import MetricValue, get_metric, score
from finetune.records import Score
from finetune.statistics import bootstrap_intervals
from finetune.task import Task

if TYPE_CHECKING:
    from finetune.data import Split

# A slice with fewer rows says nothing that an interval could hold.
SMALLEST_SLICE = 10
NOT_IN_TRAIN = "not in train"


def find_slices(
    task: Task, split: "Split", slice_columns: Sequence[str], shared_rows: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Return {slice: positions in the split}: the task's row ranges, the values of slice columns, rows not shared with train."""
    rows = list(split.examples["row"])
    slices: dict[str, NDArray[np.int64]] = {}
    numbers = np.array([int(row.partition("/")[2]) for row in rows])
    # Row ranges speak of the published file; in a shorter or longer one the same numbers are other rows.
    if task.test_rows is not None and task.test_rows == split.source_rows:
        for name, wanted in task.row_slices.items():
            slices[name] = np.flatnonzero((numbers >= wanted.start) & (numbers < wanted.stop))
    for column in slice_columns:
        values = np.array(split.examples[f"slice:{column}"], dtype=object)
        for value in sorted(set(values)):
            slices[f"{column}: {value}"] = np.flatnonzero(values == value)
    if shared_rows:
        slices[NOT_IN_TRAIN] = np.flatnonzero(~np.isin(np.array(rows, dtype=object).astype(str), list(shared_rows)))
    return slices


def score_slices(
    metrics: Sequence[str],
    expected: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    slices: Mapping[str, NDArray[np.int64]],
    resamples: int,
    predictor: str = "model",
) -> list[Score]:
    """Return every metric on all rows, then on each slice; `expected` is (rows,), `probabilities` (rows, classes)."""
    found: list[Score] = []
    for name, positions in {"all": np.arange(len(expected)), **slices}.items():
        found += score_rows(metrics, expected[positions], probabilities[positions], resamples, predictor, name)
    return found


def score_rows(
    metrics: Sequence[str],
    expected: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    resamples: int,
    predictor: str,
    slice_name: str = "all",
) -> list[Score]:
    """Return every metric on the given rows with its percentile-bootstrap interval; undefined on a slice of few rows."""
    is_small = slice_name not in ("all", NOT_IN_TRAIN) and len(expected) < SMALLEST_SLICE
    usable = [name for name in metrics if name not in ("f1", "precision", "recall") or probabilities.shape[1] == 2]
    intervals = bootstrap_intervals(usable, expected, probabilities, resamples=resamples)
    found = []
    for name in usable:
        measured, interval = score(name, expected, probabilities), intervals[name]
        if is_small:
            measured = MetricValue(None, f"fewer than {SMALLEST_SLICE} rows")
        is_defined = measured.value is not None
        found.append(
            Score(
                name=name,
                predictor=predictor,
                slice=slice_name,
                value=measured.value,
                n=len(expected),
                low=interval.low if is_defined else None,
                high=interval.high if is_defined else None,
                higher_is_better=get_metric(name).higher_is_better,
                reason=measured.reason or interval.reason,
            )
        )
    return found


def pick(scores: Sequence[Score], name: str, slice_name: str = "all", predictor: str | None = None) -> Score | None:
    """Return the first score of that name, slice and predictor (any, where None)."""
    return next(
        (
            score
            for score in scores
            if score.name == name and score.slice == slice_name and predictor in (None, score.predictor)
        ),
        None,
    )
