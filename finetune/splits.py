"""Cutting rows: carving a part out of another, and drawing some of them.

Owns stratification, grouping and the split seed. The same rows come out for every training seed and learning rate.
"""

from typing import TYPE_CHECKING

import numpy as np

from finetune.data_checks import text_keys
from finetune.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def carve(examples: "Dataset", fraction: float, seed: int) -> tuple["Dataset", "Dataset"]:
    """Return (kept, carved): about `fraction` of each label is carved, whole groups at a time, file order kept.

    A group is the value of `group` where the data has one, else the normalised text: equal texts never part.

    Raises:
        DataError: too few rows or groups to leave something on both sides.
    """
    labels = np.asarray(examples["label"])
    names = list(examples["group"]) if "group" in examples.column_names else text_keys(examples)
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    groups = np.array([numbers[name] for name in names])
    sizes = np.bincount(groups)
    # A group counts for the label that most of its rows carry, so that each label loses its share.
    per_label = np.stack(
        [np.bincount(groups, weights=labels == label, minlength=len(sizes)) for label in range(labels.max() + 1)]
    )
    majority = per_label.argmax(axis=0)
    taken = np.zeros(len(sizes), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(sizes))
    wanted = 0.0
    for label in np.unique(majority):
        candidates = order[majority[order] == label]
        filled = np.concatenate(([0], np.cumsum(sizes[candidates])))
        wanted += fraction * filled[-1]
        # Up to the group whose end lies nearest to the wanted number of rows, but never all groups of a label.
        count = int(np.abs(filled[:-1] - wanted).argmin())
        taken[candidates[:count]] = True
        # What rounding took too few of, or too many, is made up for by the next label.
        wanted -= filled[count]
    carved = taken[groups]
    if not carved.any() or carved.all():
        raise DataError(f"{len(labels)} rows in {len(sizes)} groups are too few to carve {fraction:.0%} of them out")
    return examples.select(np.flatnonzero(~carved)), examples.select(np.flatnonzero(carved))


def draw_rows(examples: "Dataset", rows: int, seed: int) -> "Dataset":
    """Return `rows` rows drawn without replacement, in file order; all of them where there are no more."""
    if rows >= len(examples):
        return examples
    drawn = np.random.default_rng(seed).choice(len(examples), size=rows, replace=False)
    return examples.select(np.sort(drawn))
