"""How far stated probabilities can be believed: confidence against accuracy, in bins.

Owns the bins, the gaps in them, and the record behind a reliability diagram. Fitting a temperature is `decisions`, drawing is
`curve_pictures`. The confidence of a row is the probability of its most probable label, whatever a decision threshold says.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Labels, Probabilities
from finetune.findings import Calibration, ReliabilityBin

CALIBRATION_BINS: Final = 10
"""Number of equal-width confidence bins of the expected calibration error."""

BINNING: Final = f"{CALIBRATION_BINS} bins of equal width by the probability of the most probable label"


def calibration_gaps(expected: Labels, probabilities: Probabilities) -> tuple[Labels, NDArray[np.float64]]:
    """Return the confidence bin (rows,) and the confidence minus correctness (rows,) of each row.

    Bin m of `CALIBRATION_BINS` holds confidences in (m / bins, (m + 1) / bins], and the first bin also 0, as in section 2 of
    Guo et al. (2017), "On calibration of modern neural networks".
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == expected
    inner_edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    return np.searchsorted(inner_edges, confidence, side="left").astype(np.int64), confidence - correct


def build_calibration(expected: Labels, probabilities: Probabilities) -> Calibration:
    """Return the reliability of each bin that holds rows, and the calibration error over them.

    The intervals of the accuracies are Wilson's (1927), which stay inside 0 to 1 in small bins. At least one row is needed.
    """
    from scipy.stats import binomtest

    bins, gaps = calibration_gaps(expected, probabilities)
    confidence = probabilities.max(axis=1)
    found = []
    for number in np.unique(bins):
        inside = bins == number
        count = int(inside.sum())
        right = round(float((confidence[inside] - gaps[inside]).sum()))
        interval = binomtest(right, count).proportion_ci(method="wilson")
        found.append(
            ReliabilityBin(
                low=number / CALIBRATION_BINS,
                high=(number + 1) / CALIBRATION_BINS,
                n=count,
                confidence=float(confidence[inside].mean()),
                accuracy=right / count,
                accuracy_low=float(interval.low),
                accuracy_high=float(interval.high),
            )
        )
    error = sum(entry.n * abs(entry.confidence - entry.accuracy) for entry in found) / len(expected)
    return Calibration(binning=BINNING, error=float(error), bins=found)
