"""Rows drawn again and again: bootstrap, approximate randomisation, and permutation of slices, for every metric at once.

Owns what one resample draws and the values of the metrics in it. For metrics of one label a row, rows that are answered alike are drawn
as counts (multinomial, binomial, hypergeometric), which has the same distribution as drawing rows and takes no time; all else needs weights
of rows. What is concluded from the values is in `statistics` and `paired_tests`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, AnyAnswers, Labels, stack_answers
from finetune.weighted_classes import needs_labels_only, tally, tally_values
from finetune.weighted_metrics import weigh
from finetune.weighted_values import Values

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORKING_BYTES: Final = 2**20
"""Size of one block of resamples as 64-bit numbers: its row weights, or its counts. Larger blocks leave the processor's cache."""

RARE_CLASS_ROWS: Final = 30
"""Where a class has fewer rows, each class is drawn by itself, so that no resample loses it."""

LARGEST_RARE_SHARE: Final = 0.1
"""Where rare classes hold more of the rows, classes are drawn together: drawing m of m rows shows 1/m too little variance."""

FEWEST_ROWS_OF_A_CLASS: Final = 5
"""Classes with fewer rows are drawn together: a row drawn by itself shows no variance at all."""

BY_ROWS, WITHIN_CLASSES, BY_GROUPS = "rows", "rows within each class", "groups of like rows"


@dataclass(frozen=True)
class Resampling:
    """What one resample draws.

    Attributes:
        description: the same in words.
        strata: positions of the units, rows or groups, that are drawn among themselves.
        group_of_row: (rows,) the group of each row; None where the units are rows.
    """

    description: str
    strata: tuple[NDArray[np.int64], ...]
    group_of_row: NDArray[np.int64] | None = None

    @cached_property
    def units(self) -> int:
        """Number of rows or groups."""
        return sum(len(stratum) for stratum in self.strata)

    def draw(self, generator: np.random.Generator, resamples: int) -> NDArray[np.int32]:
        """Return how often each unit is drawn, (resamples, units): as many of each stratum as it has, with replacement."""
        weights = np.empty((resamples, self.units), dtype=np.int32)
        for stratum in self.strata:
            size = len(stratum)
            drawn = generator.integers(0, size, (resamples, size), dtype=np.int32).astype(np.int64)
            drawn += np.arange(resamples)[:, None] * size
            counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
            # A slice takes half the time of positions, and units of one stratum may stand in any order.
            weights[:, stratum if size < self.units else slice(None)] = counts
        return weights

    def spread(self, of_units: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return weights of units (resamples, units) as weights of rows (resamples, rows)."""
        return of_units if self.group_of_row is None else of_units.take(self.group_of_row, axis=1)

    def of_rows(self, classes: Labels, positions: NDArray[np.int64]) -> "Resampling":
        """Return how to resample some of the rows alone, whose classes are `classes` (positions,)."""
        if self.group_of_row is None:
            return choose_resampling(classes)
        return choose_resampling(classes, [str(group) for group in self.group_of_row[positions]])


def choose_resampling(classes: Labels, groups: Sequence[str] | None = None) -> Resampling:
    """Return how to resample rows of these classes (rows,), the `strata` of answers: by groups, or within classes where one is rare.

    Classes with fewer than `FEWEST_ROWS_OF_A_CLASS` rows are drawn as if they were one.
    """
    if groups is not None and len(set(groups)) < len(groups):
        _, numbers = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        return Resampling(BY_GROUPS, (np.arange(numbers.max() + 1),), numbers.astype(np.int64))
    of_class = np.bincount(classes)[classes]
    if 0 < (of_class < RARE_CLASS_ROWS).sum() <= LARGEST_RARE_SHARE * len(classes):
        stratum_of_row = np.where(of_class < FEWEST_ROWS_OF_A_CLASS, -1, classes)
        return Resampling(
            WITHIN_CLASSES, tuple(np.flatnonzero(stratum_of_row == stratum) for stratum in np.unique(stratum_of_row))
        )
    return Resampling(BY_ROWS, (np.arange(len(classes)),))


def bootstrap_values(
    names: Sequence[str],
    models: Sequence[AnyAnswers],
    resampling: Resampling,
    resamples: int,
    *,
    seed: int = 0,
    working_bytes: int = WORKING_BYTES,
) -> dict[str, Values]:
    """Return each metric (models, resamples) on resampled rows (Efron and Tibshirani 1993, chapters 6 and 13).

    All models see the same resamples of a metric, so that their differences are paired.
    """
    found = {name: np.full((len(models), resamples), np.nan) for name in names}
    counted = _list_counted(names, models)
    if counted:
        cells = _Cells.of(models, resampling)
        generator = np.random.default_rng([seed, 0])
        for part, block in _blocks(resamples, cells.width, working_bytes):
            weights = cells.draw(generator, block)
            for number in range(len(models)):
                tallies = tally(cells.answers[number], weights)
                for name in counted:
                    found[name][number, part] = tally_values(name, tallies)
    weighted = [name for name in names if name not in counted]
    if weighted:
        rows = [weigh(answers) for answers in models]
        generator = np.random.default_rng([seed, 1])
        for part, block in _blocks(resamples, len(models[0]), working_bytes):
            weights = resampling.spread(resampling.draw(generator, block))
            for number, of_model in enumerate(rows):
                for name, values in of_model.values(weighted, weights).items():
                    found[name][number, part] = values
    return found


def randomisation_differences(
    names: Sequence[str],
    first: Sequence[AnyAnswers],
    second: Sequence[AnyAnswers],
    resampling: Resampling,
    resamples: int,
    *,
    seed: int = 0,
    working_bytes: int = WORKING_BYTES,
) -> dict[str, Values]:
    """Return mean of `second` minus mean of `first` (resamples,) with each row's answers swapped by a coin.

    Takes as many models on either side; a coin swaps all of a row, or group, at once. This is approximate randomisation
    (Noreen 1989; Yeh 2000, "More accurate tests for the statistical significance of result differences").
    """
    sides, pairs = (*first, *second), len(first)
    found = {name: np.zeros(resamples) for name in names}
    counted = _list_counted(names, sides)
    if counted:
        cells = _Cells.of(sides, resampling)
        generator = np.random.default_rng([seed, 2])
        for part, block in _blocks(resamples, cells.width, working_bytes):
            swapped = cells.flip(generator, block)
            kept = cells.counts - swapped
            for one, other in zip(range(pairs), range(pairs, 2 * pairs), strict=True):
                of_first = tally(cells.answers[one], kept) + tally(cells.answers[other], swapped)
                of_second = tally(cells.answers[other], kept) + tally(cells.answers[one], swapped)
                for name in counted:
                    found[name][part] += (tally_values(name, of_second) - tally_values(name, of_first)) / pairs
    weighted = [name for name in names if name not in counted]
    if weighted:
        # Both answers to a row stand one after the other, and a coin says which of them counts on which side.
        stacked = [weigh(stack_answers(one, other)) for one, other in zip(first, second, strict=True)]
        generator = np.random.default_rng([seed, 3])
        for part, block in _blocks(resamples, 4 * len(first[0]), working_bytes):
            coins = resampling.spread(generator.integers(0, 2, (block, resampling.units), dtype=np.int32))
            of_first, of_second = np.hstack([1 - coins, coins]), np.hstack([coins, 1 - coins])
            for rows in stacked:
                before, after = rows.values(weighted, of_first), rows.values(weighted, of_second)
                for name in weighted:
                    found[name][part] += (after[name] - before[name]) / pairs
    return found


def slice_differences(
    name: str,
    answers: AnyAnswers,
    is_inside: NDArray[np.bool_],
    resampling: Resampling,
    resamples: int,
    *,
    seed: int = 0,
    working_bytes: int = WORKING_BYTES,
) -> Values:
    """Return a metric inside minus outside (resamples,) for slices of the same size drawn from all rows.

    Where rows come in groups that lie wholly inside or outside, whole groups are drawn.
    """
    values = np.empty(resamples)
    generator = np.random.default_rng([seed, 4])
    of_group = _groups_inside(is_inside, resampling)
    if of_group is None and _list_counted([name], [answers]):
        cells = _Cells.of([answers], resampling)
        for part, block in _blocks(resamples, cells.width, working_bytes):
            drawn = generator.multivariate_hypergeometric(cells.counts, int(is_inside.sum()), size=block)
            inside, outside = tally(cells.answers[0], drawn), tally(cells.answers[0], cells.counts - drawn)
            values[part] = tally_values(name, inside) - tally_values(name, outside)
        return values
    rows = weigh(answers)
    mask = (is_inside if of_group is None else of_group).astype(np.int32)
    for part, block in _blocks(resamples, 2 * len(answers), working_bytes):
        drawn = generator.permuted(np.tile(mask, (block, 1)), axis=1)
        weights = drawn if of_group is None else resampling.spread(drawn)
        values[part] = rows.values([name], weights)[name] - rows.values([name], 1 - weights)[name]
    return values


def _list_counted(names: Sequence[str], models: Sequence[AnyAnswers]) -> list[str]:
    """Return the metrics that follow from how often each label is expected, predicted, and both."""
    return [name for name in names if needs_labels_only(name)] if isinstance(models[0], Answers) else []


def _groups_inside(is_inside: NDArray[np.bool_], resampling: Resampling) -> NDArray[np.bool_] | None:
    """Return which groups lie inside a slice, (groups,), or None where rows have no groups or one is cut by the slice."""
    if resampling.group_of_row is None:
        return None
    inside = np.bincount(resampling.group_of_row, weights=is_inside)
    sizes = np.bincount(resampling.group_of_row)
    return inside > 0 if np.all((inside == 0) | (inside == sizes)) else None


def _blocks(resamples: int, width: int, working_bytes: int) -> Iterator[tuple[slice, int]]:
    """Go through the resamples, as many at once as the bytes allow."""
    size = max(1, working_bytes // (8 * max(1, width)))
    for start in range(0, resamples, size):
        block = min(size, resamples - start)
        yield slice(start, start + block), block


@dataclass(frozen=True)
class _Cells:
    """Rows that every model answered alike are one cell, so that a resample is a handful of counts.

    Attributes:
        counts: (cells,) rows of each.
        answers: for each model its answer to one row of each cell.
        strata: positions of the cells that are drawn among themselves.
        of_row: (rows,) the cell of each row.
    """

    counts: NDArray[np.int64]
    answers: tuple[Answers, ...]
    strata: tuple[NDArray[np.int64], ...]
    resampling: Resampling
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, models: Sequence[AnyAnswers], resampling: Resampling) -> "_Cells":
        classified = [answers for answers in models if isinstance(answers, Answers)]
        stratum_of_row = np.zeros(len(models[0]), dtype=np.int64)
        if resampling.group_of_row is None:
            for number, rows in enumerate(resampling.strata):
                stratum_of_row[rows] = number
        predicted = (answers.predicted for answers in classified)
        patterns = np.stack([stratum_of_row, classified[0].expected, *predicted], axis=1)
        different, examples, of_row, counts = np.unique(
            patterns, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        return cls(
            counts.astype(np.int64),
            tuple(answers[examples] for answers in classified),
            tuple(np.flatnonzero(different[:, 0] == number) for number in np.unique(different[:, 0])),
            resampling,
            of_row.reshape(-1),
        )

    @property
    def width(self) -> int:
        """How many numbers one resample takes."""
        units = 0 if self.resampling.group_of_row is None else self.resampling.units
        return max(len(self.counts), 3 * self.answers[0].classes, units)

    @cached_property
    def by_group(self) -> "csr_array":
        """Rows of each group in each cell, (groups, cells)."""
        from scipy.sparse import csr_array

        groups = self.resampling.group_of_row
        assert groups is not None
        return csr_array((np.ones(len(groups)), (groups, self.of_row)), shape=(self.resampling.units, len(self.counts)))

    def draw(self, generator: np.random.Generator, resamples: int) -> Values:
        """Return the rows of each cell (resamples, cells) in bootstrap resamples."""
        if self.resampling.group_of_row is not None:
            return np.asarray(self.resampling.draw(generator, resamples) @ self.by_group)
        drawn = np.zeros((resamples, len(self.counts)))
        for stratum in self.strata:
            counts = self.counts[stratum]
            drawn[:, stratum] = generator.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
        return drawn

    def flip(self, generator: np.random.Generator, resamples: int) -> Values:
        """Return how many rows of each cell a fair coin chose, (resamples, cells)."""
        if self.resampling.group_of_row is not None:
            coins = generator.integers(0, 2, (resamples, self.resampling.units), dtype=np.int32)
            return np.asarray(coins @ self.by_group)
        return generator.binomial(self.counts, 0.5, size=(resamples, len(self.counts))).astype(np.float64)
