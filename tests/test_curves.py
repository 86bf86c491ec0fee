"""The points of ROC and precision-recall curves, against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from finetune.answers import Answers, build_answers
from finetune.curves import MOST_POINTS, build_curves


def answers_of(rows: int, seed: int = 0) -> Answers:
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, 2, rows)
    scores = 1 / (1 + np.exp(-generator.normal(size=rows) - expected))
    return build_answers(expected, np.column_stack([1 - scores, scores]))


@pytest.mark.parametrize("rows", [30, 5000])
def test_every_point_is_what_its_threshold_does(rows: int) -> None:
    answers = answers_of(rows)
    curves = build_curves(answers, ("no", "yes"))
    assert curves is not None and curves.positive == "yes"
    for point in curves.roc:
        predicted = answers.probabilities[:, 1] >= point.threshold
        if point.x or point.y:
            assert point.x == pytest.approx(predicted[answers.expected == 0].mean())
            assert point.y == pytest.approx(predicted[answers.expected == 1].mean())
    for point in curves.precision_recall:
        predicted = answers.probabilities[:, 1] >= point.threshold
        assert point.x == pytest.approx(sklearn.metrics.recall_score(answers.expected, predicted))
        assert point.y == pytest.approx(sklearn.metrics.precision_score(answers.expected, predicted))


def test_thinned_curves_keep_their_ends_and_their_area() -> None:
    answers = answers_of(5000)
    curves = build_curves(answers, ("no", "yes"))
    assert curves is not None
    assert len(curves.roc) <= MOST_POINTS and len(curves.precision_recall) <= MOST_POINTS
    assert (curves.roc[0].x, curves.roc[0].y) == (0.0, 0.0)
    assert (curves.roc[-1].x, curves.roc[-1].y) == (1.0, 1.0)
    area = np.trapezoid([point.y for point in curves.roc], [point.x for point in curves.roc])
    whole = sklearn.metrics.roc_auc_score(answers.expected, answers.probabilities[:, 1])
    assert area == pytest.approx(whole, abs=0.002)
    assert curves.prevalence == pytest.approx(answers.expected.mean())


def test_there_is_no_curve_of_one_label_or_of_three() -> None:
    assert build_curves(build_answers([1, 1], [[0.2, 0.8], [0.5, 0.5]]), ("no", "yes")) is None
    assert build_curves(build_answers([0, 1, 2], np.eye(3)), ("a", "b", "c")) is None
