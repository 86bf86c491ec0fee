"""finetune.calibration: bins, gaps and intervals against loops over the rows and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from finetune.calibration import BINNING, CALIBRATION_BINS, build_calibration, calibration_gaps
from finetune.metrics import score
from tests.made_answers import make_answers


@st.composite
def rows_of_a_run(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels and probabilities, many of them on the edges of bins."""
    classes, count = draw(st.integers(2, 4)), draw(st.integers(1, 30))
    expected = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    tenths = draw(st.lists(st.integers(0, 10), min_size=count, max_size=count))
    shares = [[tenth / 10] + [(1 - tenth / 10) / (classes - 1)] * (classes - 1) for tenth in tenths]
    return np.array(expected), np.array(shares)


@settings(max_examples=100, deadline=None)
@given(rows=rows_of_a_run())
def test_every_bin_holds_the_rows_of_its_range_with_their_confidence_and_accuracy(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    expected, probabilities = rows
    found = {round(entry.low * CALIBRATION_BINS): entry for entry in build_calibration(expected, probabilities).bins}
    for number in range(CALIBRATION_BINS):
        low, high = number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, expected, strict=True)
            if low < row.max() <= high
        ]
        assert (number in found) == bool(inside)
        if inside:
            entry = found[number]
            assert (entry.low, entry.high, entry.n) == (low, high, len(inside))
            assert entry.confidence == pytest.approx(np.mean([confidence for confidence, _ in inside]))
            assert entry.accuracy == pytest.approx(np.mean([right for _, right in inside]))


@settings(max_examples=100, deadline=None)
@given(rows=rows_of_a_run())
def test_the_intervals_of_the_accuracies_are_those_of_wilson(rows: tuple[np.ndarray, np.ndarray]) -> None:
    for entry in build_calibration(*rows).bins:
        low, high = proportion_confint(round(entry.accuracy * entry.n), entry.n, method="wilson")
        assert entry.accuracy_low == pytest.approx(low, abs=1e-12)
        assert entry.accuracy_high == pytest.approx(high, abs=1e-12)
        assert 0 <= entry.accuracy_low <= entry.accuracy <= entry.accuracy_high <= 1


@pytest.mark.parametrize("classes", [2, 3])
def test_the_error_of_the_diagram_is_the_metric(classes: int) -> None:
    answers = make_answers(400, classes)
    found = build_calibration(answers.expected, answers.probabilities)
    assert found.error == pytest.approx(score("expected_calibration_error", answers).value, abs=1e-12)
    assert found.error == pytest.approx(
        sum(entry.n * abs(entry.confidence - entry.accuracy) for entry in found.bins) / 400, abs=1e-12
    )
    assert sum(entry.n for entry in found.bins) == 400
    assert [entry.low for entry in found.bins] == sorted(entry.low for entry in found.bins)
    assert found.binning == BINNING == "10 bins of equal width by the probability of the most probable label"


def test_edges_belong_to_the_bin_below_and_nothing_falls_outside() -> None:
    confidences = np.array([0.5, 0.6, 0.6000001, 0.9, 0.9999999, 1.0])
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    bins, gaps = calibration_gaps(np.array([0, 0, 1, 1, 0, 0]), probabilities)
    assert bins.tolist() == [4, 5, 6, 8, 9, 9]
    assert gaps == pytest.approx(confidences - [1, 1, 0, 0, 1, 1])


def test_many_classes_have_bins_below_a_half() -> None:
    probabilities = np.full((6, 20), 0.05)
    found = build_calibration(np.array([0] * 3 + [5] * 3), probabilities)
    (only,) = found.bins
    assert (only.low, only.high, only.confidence, only.accuracy) == (0.0, 0.1, pytest.approx(0.05), 0.5)


def test_honest_probabilities_have_an_error_near_zero_and_their_interval_holds_the_confidence() -> None:
    generator = np.random.default_rng(0)
    positive = generator.uniform(size=20_000)
    expected = (generator.random(20_000) < positive).astype(int)
    honest = build_calibration(expected, np.stack([1 - positive, positive], axis=1))
    assert honest.error < 0.015
    assert sum(entry.accuracy_low <= entry.confidence <= entry.accuracy_high for entry in honest.bins) >= 4
    bold = build_calibration(expected, np.stack([positive < 0.5, positive >= 0.5], axis=1).astype(float))
    assert bold.error == pytest.approx(0.25, abs=0.01)


def test_the_confidence_is_that_of_the_most_probable_label_whatever_was_decided() -> None:
    answers = make_answers(50)
    threshold = answers.probabilities[:, 1] >= 0.9
    decided = type(answers)(answers.expected, threshold.astype(np.int64), answers.probabilities)
    name = "expected_calibration_error"
    assert score(name, decided) == score(name, answers)
    assert score("accuracy", decided) != score("accuracy", answers)
