"""Slices of the test rows: which there are, and whether one differs from the rest beyond noise.

Owns finding them: ranges of rows, values of columns, lengths, annotated phenomena, rows shared with train. Their scores are in `scores`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import AnyAnswers
from finetune.data_checks import read_column
from finetune.errors import DataError
from finetune.findings import SliceTest
from finetune.metrics import score
from finetune.paired_tests import LEVEL, holm, resampled_p_value
from finetune.resampling import Resampling, slice_differences
from finetune.row_store import read_rows
from finetune.task import Task

if TYPE_CHECKING:
    from finetune.data import Split

Slices = Mapping[str, NDArray[np.int64]]

NOT_IN_TRAIN: Final = "not in train"
SMALLEST_SLICE: Final = 10
"""A slice with fewer rows says nothing that an interval could hold."""
MOST_VALUES: Final = 100
"""A column with more values than this is no set of slices."""
LENGTH_PARTS: Final = 10
PERMUTATIONS: Final = 10_000
"""Enough for p-values that survive Holm's correction over a hundred slices."""


def find_slices(
    task: Task, split: "Split", slice_columns: Sequence[str], shared_rows: Sequence[str], lengths: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return {slice: positions in the split}; `lengths` (rows,) are tokens.

    Raises:
        DataError: a slice column has too many different values.
    """
    rows = read_rows(split.examples, lambda examples: read_column(examples, "row"))
    slices: dict[str, NDArray[np.int64]] = {}
    numbers = np.fromiter((int(row.partition("/")[2]) for row in rows), dtype=np.int64, count=len(rows))
    # Row ranges speak of the published file; in a shorter or longer one the same numbers are other rows.
    if task.test_rows is not None and task.test_rows == split.source_rows:
        for name, wanted in task.row_slices.items():
            slices[name] = np.flatnonzero((numbers >= wanted.start) & (numbers < wanted.stop))
    for column in slice_columns:
        values = np.array(read_column(split.examples, f"slice:{column}"), dtype=object)
        different = sorted(set(values))
        if len(different) > MOST_VALUES:
            raise DataError(
                f"{split.origin}: column '{column}' has {len(different)} different values, of which evaluate.slices "
                f"allows {MOST_VALUES}"
            )
        for value in different:
            slices[f"{column}: {value}"] = np.flatnonzero(values == value)
    if shared_rows:
        shared = set(shared_rows)
        slices[NOT_IN_TRAIN] = np.flatnonzero([row not in shared for row in rows])
    return slices | cut_by_length(lengths)


def cut_by_length(lengths: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the tenths of the rows from short to long, {slice: positions}; equal lengths stay together."""
    edges = np.unique(np.quantile(lengths, np.arange(1, LENGTH_PARTS) / LENGTH_PARTS, method="inverted_cdf"))
    parts = np.searchsorted(edges, lengths, side="left")
    found = {}
    for part in np.unique(parts):
        inside = np.flatnonzero(parts == part)
        low, high = int(lengths[inside].min()), int(lengths[inside].max())
        found[f"tokens: {low}" + (f" to {high}" if high > low else "")] = inside
    return found if len(found) > 1 else {}


def compare_slices(metric: str, answers: AnyAnswers, slices: Slices, resampling: Resampling) -> list[SliceTest]:
    """Return for each slice whether a metric on it differs from that on all other rows.

    The p-value is that of a permutation of which rows belong to the slice, corrected by Holm over all slices.
    """
    tests = [_compare_slice(metric, answers, name, positions, resampling) for name, positions in slices.items()]
    adjusted = holm([test.p_value for test in tests])
    return [
        test.model_copy(update={"p_adjusted": value, "is_flagged": value is not None and value < LEVEL})
        for test, value in zip(tests, adjusted, strict=True)
    ]


def _compare_slice(
    metric: str, answers: AnyAnswers, name: str, positions: NDArray[np.int64], resampling: Resampling
) -> SliceTest:
    is_inside = np.zeros(len(answers), dtype=bool)
    is_inside[positions] = True
    inside, outside = score(metric, answers[is_inside]), score(metric, answers[~is_inside])
    difference, p_value, reason = None, None, inside.reason or outside.reason
    if min(is_inside.sum(), (~is_inside).sum()) < SMALLEST_SLICE:
        reason = f"fewer than {SMALLEST_SLICE} rows"
    elif inside.value is not None and outside.value is not None:
        difference = inside.value - outside.value
        p_value = resampled_p_value(difference, slice_differences(metric, answers, is_inside, resampling, PERMUTATIONS))
        reason = "" if p_value is not None else "undefined for most slices of this size"
    return SliceTest(
        slice=name,
        n=int(is_inside.sum()),
        rest_n=int((~is_inside).sum()),
        difference=difference,
        p_value=p_value,
        p_adjusted=None,
        is_flagged=False,
        reason=reason,
    )
