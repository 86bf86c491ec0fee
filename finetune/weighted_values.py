"""What the metrics of weighted rows have in common: their types, and quotients where some have no value.

Owns nothing of any one metric; those are in `weighted_classes`, `weighted_regression`, `weighted_multilabel` and `weighted_language`.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Weights = NDArray[np.number]
"""How often each row counts, (versions, rows); whole numbers take less time than others."""


class WeightedRows(Protocol):
    """Rows with what all weighted versions of them share, such as their order by score."""

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        ...


def divide(numerator: Values, denominator: Values) -> Values:
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def mean_of_defined(values: Values) -> Values:
    """Return the mean over classes (versions,) of values (versions, classes), leaving NaN out; NaN where all are."""
    is_defined = ~np.isnan(values)
    return divide(np.where(is_defined, values, 0.0).sum(axis=1), is_defined.sum(axis=1))


def weighted_means(weights: Weights, of_row: Values) -> Values:
    """Return the means (versions, columns) of columns (rows, columns), NaN where no row counts."""
    numbers = weights.astype(np.float64, copy=False)
    sums = numbers @ of_row
    return divide(sums, np.broadcast_to(numbers.sum(axis=1, keepdims=True), sums.shape))
