"""Cutting rows: carving a part out of another, and drawing some of them.

Owns stratification, grouping and the split seed. The same rows come out for every training seed and learning rate.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import read_column, read_labels, text_keys
from finetune.errors import DataError
from finetune.row_store import cut_rows, keep_rows

if TYPE_CHECKING:
    from datasets import Dataset

FIFTHS = (0.2, 0.4, 0.6, 0.8)


def choose_carved(examples: "Dataset", fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows are carved (rows,): about `fraction` of each stratum, whole groups at a time.

    A stratum is a class, or a fifth of the numbers in their order; rows with several labels or none are all of one.
    A group is the value of `group` where the data has one, else the normalised text: equal texts never part.

    Raises:
        DataError: too few rows or groups to leave something on both sides.
    """
    strata = _strata_of(examples)
    groups = _number_groups(examples)
    sizes = np.bincount(groups)
    # A group counts for the stratum that most of its rows are of, so that each stratum loses its share.
    per_stratum = np.stack(
        [np.bincount(groups, weights=strata == stratum, minlength=len(sizes)) for stratum in range(strata.max() + 1)]
    )
    majority = per_stratum.argmax(axis=0)
    taken = np.zeros(len(sizes), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(sizes))
    wanted = 0.0
    for stratum in np.unique(majority):
        candidates = order[majority[order] == stratum]
        filled = np.concatenate(([0], np.cumsum(sizes[candidates])))
        wanted += fraction * filled[-1]
        # Up to the group whose end lies nearest to the wanted number of rows, but never all groups of a stratum.
        count = int(np.abs(filled[:-1] - wanted).argmin())
        taken[candidates[:count]] = True
        # What rounding took too few of, or too many, is made up for by the next stratum.
        wanted -= filled[count]
    carved = taken[groups]
    if not carved.any() or carved.all():
        raise DataError(f"{len(strata)} rows in {len(sizes)} groups are too few to carve {fraction:.0%} of them out")
    return carved


def _number_groups(examples: "Dataset") -> NDArray[np.int64]:
    """Return the number of each row's group (rows,), in the order of their names."""
    if "group" not in examples.column_names:
        return np.unique(text_keys(examples), return_inverse=True)[1]
    numbers: dict[str, int] = {}
    found = [
        numbers.setdefault(name, len(numbers)) for part in cut_rows(examples) for name in read_column(part, "group")
    ]
    order = {name: number for number, name in enumerate(sorted(numbers))}
    return np.array([order[name] for name in numbers])[found]


def _strata_of(examples: "Dataset") -> NDArray[np.int64]:
    labels = read_labels(examples)
    if labels is None or labels.ndim == 2:
        return np.zeros(len(examples), dtype=np.int64)
    if labels.dtype.kind == "f":
        return np.searchsorted(np.quantile(labels, FIFTHS), labels, side="right")
    return labels.astype(np.int64)


def draw_rows(examples: "Dataset", rows: int, seed: int) -> "Dataset":
    """Return `rows` rows drawn without replacement, in file order; all of them where there are no more."""
    if rows >= len(examples):
        return examples
    drawn = np.random.default_rng(seed).choice(len(examples), size=rows, replace=False)
    is_drawn = np.zeros(len(examples), dtype=bool)
    is_drawn[drawn] = True
    return keep_rows(examples, is_drawn)
