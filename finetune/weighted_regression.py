"""The metrics of predicted numbers of many weighted versions of the same rows at once, which resampling needs.

Owns a formula for each metric of `regression_metrics` that takes the row weights of all versions together. For weights of 1 each agrees
with `regression_metrics`, which owns definitions and the rules for undefined cases; here undefined is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Numbers, RegressionAnswers
from finetune.regression_metrics import FEWEST_ROWS, absolute_errors, squared_errors, standardise
from finetune.weighted_values import Values, Weights, divide, weighted_means

_ERRORS: Final = {"mean_squared_error": squared_errors, "mean_absolute_error": absolute_errors}


class WeightedNumbers:
    """Rows with numbers, and what all weighted versions of them share, such as their order."""

    def __init__(self, answers: RegressionAnswers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = {}
        if errors := [name for name in names if name in _ERRORS]:
            columns = np.stack([_ERRORS[name](self.answers) for name in errors], axis=1)
            found |= dict(zip(errors, weighted_means(weights, columns).T, strict=True))
        if "pearson" in names:
            found["pearson"] = self._correlate(weights)
        if "spearman" in names:
            found["spearman"] = self._correlate_ranks(weights)
        return found

    @cached_property
    def orders(self) -> tuple["_Order", "_Order"]:
        """Return the rising order of the expected and of the predicted numbers."""
        return _Order.of(self.answers.expected), _Order.of(self.answers.predicted)

    def _correlate(self, weights: Weights) -> Values:
        """Return the correlation by weighted moments about the means over all rows, near which those of a version lie."""
        x, y = standardise(self.answers.expected), standardise(self.answers.predicted)
        moments = weighted_means(weights, np.stack([x, y, x * x, y * y, x * y], axis=1))
        mean_x, mean_y, square_x, square_y, product = moments.T
        variances = (square_x - mean_x**2) * (square_y - mean_y**2)
        # What a constant column leaves of a variance is rounding, so it is found by its numbers.
        varies = self.orders[0].varies(weights) & self.orders[1].varies(weights)
        return _correlation(product - mean_x * mean_y, variances, varies, weights)

    def _correlate_ranks(self, weights: Weights) -> Values:
        numbers = weights.astype(np.float64, copy=False)
        x, y = (order.centred_ranks(numbers) for order in self.orders)
        covariance, *variances = (
            np.einsum("ij,ij,ij->i", numbers, one, other) for one, other in ((x, y), (x, x), (y, y))
        )
        product = variances[0] * variances[1]
        return _correlation(covariance, product, product > 0, weights)


@dataclass(frozen=True)
class _Order:
    """Rows by rising number, in runs of equal ones.

    Attributes:
        rows: (rows,) the rows by rising number.
        starts: (runs,) position in that order at which each run begins.
        run_of_row: (rows,) the run of each row.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    run_of_row: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: Numbers) -> "_Order":
        _, run_of_row, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        run_of_row = run_of_row.reshape(-1)
        return cls(np.argsort(run_of_row, kind="stable"), np.cumsum(counts) - counts, run_of_row)

    def weigh_runs(self, weights: Weights) -> Any:
        """Return the weight of each run, (versions, runs)."""
        return np.add.reduceat(weights.take(self.rows, axis=1), self.starts, axis=1)

    def varies(self, weights: Weights) -> NDArray[np.bool_]:
        """Return whether rows of two runs at least count, (versions,)."""
        return np.count_nonzero(self.weigh_runs(weights), axis=1) > 1

    def centred_ranks(self, weights: Values) -> Values:
        """Return the mean rank of each row among rows that stand there as often as they count, less the mean of all (versions, rows)."""
        of_run = self.weigh_runs(weights)
        up_to = np.cumsum(of_run, axis=1)
        # The ranks of a run go from what lies below it + 1 to what lies up to it, those of all from 1 to their number.
        centred: Values = up_to - (of_run + up_to[:, -1:]) / 2
        return centred.take(self.run_of_row, axis=1)


def _correlation(covariance: Values, variances: Values, varies: NDArray[np.bool_], weights: Weights) -> Values:
    """Return the correlation (versions,) from the covariance and the product of the variances, both up to one factor."""
    is_defined = varies & (weights.sum(axis=1) >= FEWEST_ROWS) & (variances > 0)
    return np.clip(divide(covariance, np.where(is_defined, np.sqrt(np.maximum(variances, 0.0)), 0.0)), -1.0, 1.0)
