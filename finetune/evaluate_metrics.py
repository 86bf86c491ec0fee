"""The metrics of `finetune.metrics` as modules of the Hugging Face library `evaluate`.

    load_metric("accuracy").compute(predictions=[0, 1], references=[0, 0])        # {'accuracy': 0.5}
    load_metric("brier").compute(predictions=[[0.9, 0.1]], references=[0])        # {'brier': 0.01}

Metrics of labels take predicted label ids and metrics of probabilities take one list of class probabilities per row.
Values and rules are those of `finetune.metrics`; nothing is computed or downloaded here. This is the only module that
imports `evaluate`, which takes seconds.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from finetune.answers import Probabilities, build_answers
from finetune.errors import DataError
from finetune.metrics import get_metric, score

_LABEL_INPUTS = "predictions: label ids. references: label ids.\n"
_PROBABILITY_INPUTS = "predictions: for each row the probability of each class. references: label ids.\n"


class ClassificationMetric(evaluate.Metric):
    """One metric of the registry as an `evaluate` module, called by its name there."""

    def __init__(self, name: str, **options: Any) -> None:
        """Set up the metric called `name`; `options` are those of `evaluate.Metric`, such as `keep_in_memory`.

        Raises:
            RecipeError: no metric has this name.
        """
        self.metric = get_metric(name)
        super().__init__(config_name=name, **options)
        # evaluate derives this from the class, but combine() needs it to tell the metrics apart.
        self.info.module_name = name

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("int64")
        from_labels = self.metric.needs == "labels"
        predictions = label if from_labels else datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=f"{self.metric.title}, from {self.metric.low:g} to {self.metric.high:g}.",
            citation="",
            inputs_description=_LABEL_INPUTS if from_labels else _PROBABILITY_INPUTS,
            features=datasets.Features({"predictions": predictions, "references": label}),
        )

    # Narrower than the base class on purpose: an option that is not known must fail, not be swallowed.
    def _compute(  # ty: ignore[incompatible-method-override]
        self, *, predictions: Sequence[Any], references: Sequence[int]
    ) -> dict[str, float]:
        """Return the value under the metric's name; NaN where `finetune.metrics.score` has None and a reason.

        Raises:
            InvalidResultError: a row of predictions does not hold probabilities.
            DataError: a label id is negative or has no column in the probabilities, or rows differ in length.
        """
        from_labels = self.metric.needs == "labels"
        expected = np.asarray(references, dtype=np.int64)
        probabilities = _one_hot(predictions, expected) if from_labels else _matrix(predictions)
        value = score(self.metric.name, build_answers(expected, probabilities)).value
        return {self.metric.name: float("nan") if value is None else value}


def load_metric(name: str, **options: Any) -> ClassificationMetric:
    """Return the metric called `name` as an `evaluate` module; `options` are those of `evaluate.Metric`.

    Raises:
        RecipeError: no metric has this name.
    """
    return ClassificationMetric(name, **options)


def _one_hot(predictions: Sequence[int], expected: NDArray[np.int64]) -> Probabilities:
    """Return probabilities (rows, classes) that are certain of `predictions`.

    The ids that occur are all that is known of the classes, so there are as many as the highest needs, two at least.
    """
    predicted = np.asarray(predictions, dtype=np.int64)
    if predicted.size and predicted.min() < 0:
        raise DataError(f"a predicted label id is negative: {predicted.min()}")
    classes = 1 + max([1, *predicted.tolist(), *expected.tolist()])
    probabilities = np.zeros((len(predicted), classes))
    probabilities[np.arange(len(predicted)), predicted] = 1.0
    return probabilities


def _matrix(predictions: Sequence[Sequence[float]]) -> Probabilities:
    if len({len(row) for row in predictions}) > 1:
        raise DataError("the rows of predictions have different numbers of probabilities")
    return np.asarray(predictions, dtype=np.float64) if len(predictions) else np.empty((0, 2))
