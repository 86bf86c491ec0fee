"""finetune.metrics: values against scikit-learn and hand-worked cases, undefined cases, refusals."""

import math
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune.answers import build_answers
from finetune.calibration import CALIBRATION_BINS, calibration_gaps
from finetune.errors import DataError, FinetuneError, InvalidResultError, RecipeError
from finetune.metrics import METRICS, MetricValue, get_metric
from finetune.metrics import score as score_answers
from tests.made_answers import CLASS_METRICS

Rows = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def rows_of_a_run(draw: st.DrawFn, minimum_classes: int = 2, maximum_classes: int = 4) -> Rows:
    """Draw labels and probabilities with many ties, collapsed models and absent classes among them."""
    classes = draw(st.integers(minimum_classes, maximum_classes))
    count = draw(st.integers(1, 40))
    expected = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    weights = draw(st.lists(st.tuples(*[st.integers(0, 6)] * classes), min_size=count, max_size=count))
    masses = np.array(weights, dtype=np.float64)
    masses[masses.sum(axis=1) == 0] = 1
    return np.array(expected, dtype=np.int64), masses / masses.sum(axis=1, keepdims=True)


def score(name: str, expected: object, probabilities: object) -> MetricValue:
    """Return a metric of unchecked arrays."""
    return score_answers(name, build_answers(expected, probabilities))  # type: ignore[arg-type]


def certain(predicted: list[int], classes: int = 2) -> NDArray[np.float64]:
    """Return probabilities that are certain of `predicted`."""
    return np.eye(classes)[predicted]


def quietly(function: Callable[..., float], *arguments: object, **options: object) -> float:
    """Call the oracle without its warnings, which are not what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*arguments, **options))


@settings(max_examples=150, deadline=None)
@given(rows_of_a_run())
def test_label_metrics_equal_scikit_learn(rows: Rows) -> None:
    expected, probabilities = rows
    predicted = probabilities.argmax(axis=1)
    oracles = {
        "accuracy": quietly(sklearn.metrics.accuracy_score, expected, predicted),
        "balanced_accuracy": quietly(sklearn.metrics.balanced_accuracy_score, expected, predicted),
        "macro_f1": quietly(sklearn.metrics.f1_score, expected, predicted, average="macro"),
    }
    if len(np.unique(expected)) > 1:
        oracles["matthews_correlation"] = quietly(sklearn.metrics.matthews_corrcoef, expected, predicted)
    for name, value in oracles.items():
        assert score(name, expected, probabilities) == MetricValue(pytest.approx(value, abs=1e-12)), name


@settings(max_examples=150, deadline=None)
@given(rows_of_a_run(maximum_classes=2))
def test_binary_metrics_equal_scikit_learn_with_class_1_as_positive(rows: Rows) -> None:
    expected, probabilities = rows
    predicted = probabilities.argmax(axis=1)
    for name, function in {
        "f1": sklearn.metrics.f1_score,
        "precision": sklearn.metrics.precision_score,
        "recall": sklearn.metrics.recall_score,
    }.items():
        oracle = quietly(function, expected, predicted, pos_label=1, zero_division=math.nan)
        value = score(name, expected, probabilities)
        assert (value.value is None) == math.isnan(oracle) == bool(value.reason), name
        assert value.value is None or value.value == pytest.approx(oracle, abs=1e-12), name


@settings(max_examples=150, deadline=None)
@given(rows_of_a_run())
def test_probability_metrics_equal_scikit_learn(rows: Rows) -> None:
    expected, probabilities = rows
    classes = probabilities.shape[1]
    labels = list(range(classes))
    of_class_1 = probabilities[:, 1]
    log_loss = quietly(sklearn.metrics.log_loss, expected, probabilities, labels=labels)
    assert score("log_loss", expected, probabilities).value == pytest.approx(log_loss, abs=1e-12)
    # scale_by_half halves the sum over classes, which for two classes is the squared distance.
    brier = quietly(
        sklearn.metrics.brier_score_loss, expected, probabilities, labels=labels, scale_by_half=classes == 2
    )
    assert score("brier", expected, probabilities).value == pytest.approx(brier, abs=1e-12)
    if len(np.unique(expected)) == classes:
        scores = of_class_1 if classes == 2 else probabilities
        area = quietly(
            sklearn.metrics.roc_auc_score, expected, scores, multi_class="ovr", average="macro", labels=labels
        )
        assert score("roc_auc", expected, probabilities).value == pytest.approx(area, abs=1e-12)
        precisions = [
            quietly(sklearn.metrics.average_precision_score, expected == label, probabilities[:, label])
            for label in ([1] if classes == 2 else labels)
        ]
        assert score("pr_auc", expected, probabilities).value == pytest.approx(np.mean(precisions), abs=1e-12)
    else:
        assert score("roc_auc", expected, probabilities).value is None


@settings(max_examples=150, deadline=None)
@given(rows_of_a_run())
def test_calibration_error_equals_the_sum_over_bins_of_guo_et_al(rows: Rows) -> None:
    expected, probabilities = rows
    error = 0.0
    for number in range(CALIBRATION_BINS):
        low, high = number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS
        inside = [
            (row.max(), float(row.argmax() == label))
            for row, label in zip(probabilities, expected, strict=True)
            if low < row.max() <= high
        ]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            error += len(inside) / len(expected) * abs(accuracy - confidence)
    value = score("expected_calibration_error", expected, probabilities).value
    assert value == pytest.approx(error, abs=1e-12)


def test_calibration_error_of_a_hand_worked_case() -> None:
    probabilities = [[0.05, 0.95], [0.05, 0.95], [0.4, 0.6], [0.8, 0.2]]
    # bin (0.9, 1.0]: two rows, mean confidence 0.95, accuracy 1/2; (0.5, 0.6]: 0.6, 1; (0.7, 0.8]: 0.8, 0
    value = score("expected_calibration_error", [1, 0, 1, 1], probabilities).value
    assert value == pytest.approx((2 * 0.45 + 0.4 + 0.8) / 4)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    confidences = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    probabilities = np.array([[confidence, 1 - confidence] for confidence in confidences])
    bins, _ = calibration_gaps(np.zeros(6, dtype=np.int64), probabilities)
    assert bins.tolist() == [4, 5, 6, 7, 8, 9]


def test_brier_is_squared_distance_for_two_classes_and_the_sum_over_classes_for_more() -> None:
    assert score("brier", [1], [[0.3, 0.7]]).value == pytest.approx(0.09)
    assert score("brier", [1], [[0.2, 0.7, 0.1]]).value == pytest.approx(0.04 + 0.09 + 0.01)


def test_log_loss_of_a_certain_wrong_row_is_finite() -> None:
    assert score("log_loss", [1], [[1.0, 0.0]]).value == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_the_first_of_equally_probable_classes_is_predicted() -> None:
    assert score("accuracy", [0, 1], [[0.5, 0.5], [0.5, 0.5]]).value == 0.5


def test_a_collapsed_model_has_matthews_correlation_zero() -> None:
    assert score("matthews_correlation", [0, 1, 1], certain([1, 1, 1])) == MetricValue(0.0)


@pytest.mark.parametrize(
    ("name", "expected", "predicted", "reason"),
    [
        ("matthews_correlation", [1, 1, 1], [0, 1, 1], "only one class in the labels"),
        ("matthews_correlation", [1, 1, 1], [1, 1, 1], "only one class in the labels"),
        ("roc_auc", [0, 0, 0], [0, 1, 1], "only one class in the labels"),
        ("precision", [0, 1, 1], [0, 0, 0], "no row is predicted positive"),
        ("recall", [0, 0, 0], [0, 1, 1], "no row is positive in the labels"),
        ("f1", [0, 0, 0], [0, 0, 0], "no row is positive in the labels or the predictions"),
    ],
)
def test_an_undefined_metric_is_none_with_a_reason(
    name: str, expected: list[int], predicted: list[int], reason: str
) -> None:
    assert score(name, expected, certain(predicted)) == MetricValue(None, reason)


def test_auc_names_the_class_without_rows() -> None:
    assert score("roc_auc", [0, 2], certain([0, 2], 3)) == MetricValue(None, "no row has label 1")


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_binary_metrics_are_undefined_for_three_classes(name: str) -> None:
    value = score(name, [0, 1, 2], certain([0, 1, 2], 3))
    assert value.value is None
    assert value.reason.startswith("defined for two classes only")


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_every_metric_is_undefined_without_rows(name: str) -> None:
    assert score(name, [], np.empty((0, 2))) == MetricValue(None, "no rows")


@pytest.mark.parametrize("name", CLASS_METRICS)
@settings(max_examples=40, deadline=None)
@given(rows=rows_of_a_run())
def test_every_value_is_in_range_or_none_with_a_reason_and_never_warns(name: str, rows: Rows) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = score(name, *rows)
    assert (value.value is None) == bool(value.reason)
    # Rounding may carry a perfect correlation past 1 by a unit in the last place.
    low, high = METRICS[name].low - 1e-12, METRICS[name].high + 1e-12
    assert value.value is None or low <= value.value <= high


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_perfect_predictions_reach_the_better_end_of_the_range(name: str) -> None:
    metric = METRICS[name]
    best = metric.high if metric.higher_is_better else metric.low
    assert score(name, [0, 1, 0, 1], certain([0, 1, 0, 1])).value == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_label_metrics_and_only_those_ignore_how_sure_the_model_is(name: str) -> None:
    expected = [0, 1, 0, 1, 1]
    unsure = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]])
    sure = certain(unsure.argmax(axis=1).tolist())
    same = score(name, expected, unsure).value == pytest.approx(score(name, expected, sure).value)
    assert same == (METRICS[name].needs == "labels")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.2, 1.5])
def test_values_that_are_not_probabilities_are_an_invalid_result(bad: float) -> None:
    with pytest.raises(InvalidResultError, match="row 1"):
        score("accuracy", [0, 1], [[0.5, 0.5], [bad, 0.5]])


def test_rows_that_do_not_sum_to_one_are_an_invalid_result() -> None:
    with pytest.raises(InvalidResultError, match="row 0"):
        score("brier", [0], [[0.5, 0.1]])


def test_single_precision_probabilities_pass() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=(50, 3))).astype(np.float32)
    values /= values.sum(axis=1, keepdims=True)
    assert score("log_loss", np.zeros(50, dtype=np.int32), values).value is not None


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0], [0.0, 1.0]])
def test_labels_that_are_no_class_ids_are_a_data_error(labels: list[float]) -> None:
    with pytest.raises(DataError, match="label"):
        score("accuracy", labels, certain([0, 1]))


@pytest.mark.parametrize("shape", [(3, 2), (2, 1), (2,), (2, 2, 2)])
def test_arrays_that_do_not_belong_together_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FinetuneError, match="metrics need labels"):
        score("accuracy", [0, 1], np.full(shape, 0.5))


def test_an_unknown_metric_is_a_recipe_error_that_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown metric 'acuracy'.*did you mean 'accuracy'\?"):
        get_metric("acuracy")


def test_the_registry_uses_each_metrics_own_name() -> None:
    assert all(name == metric.name == get_metric(name).name for name, metric in METRICS.items())


def test_importing_metrics_and_statistics_loads_no_slow_library() -> None:
    slow = {"torch", "transformers", "datasets", "evaluate", "sklearn", "scipy"}
    code = f"import sys, finetune.metrics, finetune.statistics; print(sorted({slow} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
