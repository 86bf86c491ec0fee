"""finetune.evaluate_metrics: the same values through the interface of the `evaluate` library."""

import math
from pathlib import Path

import evaluate
import numpy as np
import pytest

from finetune.answers import MultilabelAnswers, RegressionAnswers, build_answers
from finetune.errors import DataError, InvalidResultError, RecipeError
from finetune.evaluate_metrics import FinetuneMetric, load_metric
from finetune.metrics import get_metric, list_metrics, score
from tests.made_answers import CLASS_METRICS, LABEL_METRICS, make_label_sets, make_numbers

EXPECTED = [0, 1, 1, 0, 1, 0, 1]
PROBABILITIES = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6], [0.3, 0.7], [0.55, 0.45], [0.45, 0.55]]
PREDICTED = [0, 1, 0, 1, 1, 0, 1]


def metric_in(folder: Path, name: str, *, keep_in_memory: bool = False) -> FinetuneMetric:
    """Return a metric that keeps its files in `folder`."""
    return load_metric(name, cache_dir=str(folder), keep_in_memory=keep_in_memory)


@pytest.mark.parametrize("keep_in_memory", [False, True])
@pytest.mark.parametrize("name", CLASS_METRICS)
def test_every_metric_has_the_value_of_the_plain_function(name: str, keep_in_memory: bool, tmp_path: Path) -> None:
    metric = metric_in(tmp_path, name, keep_in_memory=keep_in_memory)
    predictions = PREDICTED if name in LABEL_METRICS else PROBABILITIES
    result = metric.compute(predictions=predictions, references=EXPECTED)
    assert isinstance(metric, evaluate.Metric)
    assert result == {name: score(name, build_answers(EXPECTED, PROBABILITIES)).value}


@pytest.mark.parametrize("name", ["matthews_correlation", "macro_f1", "roc_auc", "brier", "log_loss"])
def test_three_classes_and_arrays_are_accepted(name: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    expected = np.arange(30) % 3
    probabilities = generator.dirichlet([1, 1, 1], 30)
    predictions = probabilities.argmax(axis=1) if name in LABEL_METRICS else probabilities
    result = metric_in(tmp_path, name).compute(predictions=predictions, references=expected)
    assert result == {name: pytest.approx(score(name, build_answers(expected, probabilities)).value)}


def test_batches_and_single_rows_add_up_to_one_value(tmp_path: Path) -> None:
    metric = metric_in(tmp_path, "brier")
    metric.add_batch(predictions=PROBABILITIES[:4], references=EXPECTED[:4])
    for probabilities, label in zip(PROBABILITIES[4:], EXPECTED[4:], strict=True):
        metric.add(prediction=probabilities, reference=label)
    assert metric.compute() == {"brier": score("brier", build_answers(EXPECTED, PROBABILITIES)).value}


@pytest.mark.parametrize("force_prefix", [False, True])
def test_label_metrics_can_be_combined(force_prefix: bool, tmp_path: Path) -> None:
    modules = [metric_in(tmp_path, name) for name in LABEL_METRICS]
    combined = evaluate.combine(modules, force_prefix=force_prefix)
    result = combined.compute(predictions=PREDICTED, references=EXPECTED)
    assert result == {
        f"{name}_{name}" if force_prefix else name: score(name, build_answers(EXPECTED, PROBABILITIES)).value
        for name in LABEL_METRICS
    }


def test_a_metric_without_a_value_gives_nan(tmp_path: Path) -> None:
    result = metric_in(tmp_path, "recall").compute(predictions=[0, 1], references=[0, 0])
    assert math.isnan(result["recall"])


@pytest.mark.parametrize("name", ["accuracy", "brier"])
def test_no_rows_give_nan(name: str, tmp_path: Path) -> None:
    assert math.isnan(metric_in(tmp_path, name).compute(predictions=[], references=[])[name])


def test_the_description_names_title_range_and_inputs(tmp_path: Path) -> None:
    metric = metric_in(tmp_path, "matthews_correlation")
    assert metric.name == "matthews_correlation"
    assert metric.description == "Matthews correlation, from -1 to 1."
    assert metric.inputs_description.startswith("predictions: label ids.")


def test_an_unknown_metric_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown metric 'mcc'"):
        metric_in(tmp_path, "mcc")


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="normalize"):
        metric_in(tmp_path, "accuracy").compute(predictions=[0], references=[0], normalize=False)


def test_logits_are_refused_as_probabilities(tmp_path: Path) -> None:
    with pytest.raises(InvalidResultError):
        metric_in(tmp_path, "brier").compute(predictions=[[3.1, -2.0]], references=[0])


@pytest.mark.parametrize(
    ("name", "predictions", "references"),
    [
        ("accuracy", [0, -100], [0, 0]),
        ("accuracy", [0, 0], [0, -100]),
        ("brier", [[0.5, 0.5]], [2]),
        ("brier", [[0.5, 0.5], [0.2, 0.2, 0.6]], [0, 1]),
    ],
)
def test_wrong_ids_and_ragged_rows_are_a_data_error(
    name: str, predictions: list[int] | list[list[float]], references: list[int], tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        metric_in(tmp_path, name).compute(predictions=predictions, references=references)


@pytest.mark.parametrize("name", list_metrics(RegressionAnswers))
def test_metrics_of_numbers_take_numbers(name: str, tmp_path: Path) -> None:
    answers = make_numbers(20)
    result = metric_in(tmp_path, name).compute(predictions=answers.predicted, references=answers.expected)
    assert result == {name: pytest.approx(score(name, answers).value)}


@pytest.mark.parametrize("name", list_metrics(MultilabelAnswers))
def test_metrics_of_several_labels_take_a_list_a_row(name: str, tmp_path: Path) -> None:
    answers = make_label_sets(20)
    of_labels = get_metric(name).needs == "labels"
    predictions = answers.predicted.astype(int) if of_labels else answers.probabilities
    metric = load_metric(name, multilabel=True, cache_dir=str(tmp_path))
    result = metric.compute(predictions=predictions, references=answers.expected.astype(int))
    assert result == {name: pytest.approx(score(name, answers).value)}


def test_a_label_that_is_neither_0_nor_1_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither 0 nor 1"):
        load_metric("micro_f1", cache_dir=str(tmp_path)).compute(predictions=[[0, 1]], references=[[0, 2]])


@pytest.mark.parametrize(
    ("name", "multilabel", "message"),
    [
        ("token_loss", False, "token_loss is no metric of predictions and references"),
        ("accuracy", True, "accuracy is no metric of several labels at once"),
    ],
)
def test_a_metric_of_another_kind_is_a_recipe_error(name: str, multilabel: bool, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_metric(name, multilabel=multilabel)
