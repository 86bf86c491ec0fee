"""The metrics of `finetune.metrics` as modules of the Hugging Face library `evaluate`.

    load_metric("accuracy").compute(predictions=[0, 1], references=[0, 0])                          # {'accuracy': 0.5}
    load_metric("brier").compute(predictions=[[0.9, 0.1]], references=[0])                          # {'brier': 0.01}
    load_metric("pearson").compute(predictions=[1.2, 2.5, 2.9], references=[1, 2, 3])               # {'pearson': 0.956}
    load_metric("macro_f1", multilabel=True).compute(predictions=[[0, 1]], references=[[1, 1]])     # {'macro_f1': 0.5}

Of classes, metrics of labels take predicted label ids and metrics of probabilities one list of class probabilities per row; of several
labels at once both take a list per row, with 0 or 1 or a probability for each label. Metrics of language models are not among them:
likelihoods are neither predictions nor references. Values and rules are those of `finetune.metrics`; nothing is computed or downloaded
here. This is the only module that imports `evaluate`, which takes seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from finetune.answers import (
    Answers,
    AnyAnswers,
    MultilabelAnswers,
    Probabilities,
    RegressionAnswers,
    build_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.errors import DataError, RecipeError
from finetune.metric import Kind, Metric
from finetune.metrics import get_metric, score

_ID, _NUMBER = datasets.Value("int64"), datasets.Value("float64")


@dataclass(frozen=True)
class _Inputs:
    """What a row of predictions and of references is, and how they become answers."""

    predictions: str
    references: str
    prediction: Any
    reference: Any
    build: Callable[[Any, Any], AnyAnswers]


class FinetuneMetric(evaluate.Metric):
    """One metric of the registry, of one kind of answers, as an `evaluate` module, called by its name there."""

    def __init__(self, name: str, *, multilabel: bool = False, **options: Any) -> None:
        """Set up the metric called `name`; `options` are those of `evaluate.Metric`, such as `keep_in_memory`.

        Raises:
            RecipeError: no metric has this name, or it isn't one of this kind.
        """
        self.metric = get_metric(name)
        self.inputs = _find_inputs(self.metric, multilabel=multilabel)
        super().__init__(config_name=name, **options)
        # evaluate derives this from the class, but combine() needs it to tell the metrics apart.
        self.info.module_name = name

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{self.metric.title}, from {self.metric.low:g} to {self.metric.high:g}.",
            citation="",
            inputs_description=f"predictions: {self.inputs.predictions}. references: {self.inputs.references}.\n",
            features=datasets.Features({"predictions": self.inputs.prediction, "references": self.inputs.reference}),
        )

    # Narrower than the base class on purpose: an option that is not known must fail, not be swallowed.
    def _compute(  # ty: ignore[incompatible-method-override]
        self, *, predictions: Sequence[Any], references: Sequence[Any]
    ) -> dict[str, float]:
        """Return the value under the metric's name; NaN where `finetune.metrics.score` has None and a reason.

        Raises:
            InvalidResultError: a row of predictions does not hold probabilities, or numbers that are finite.
            DataError: a label id is negative or has no column in the probabilities, or rows differ in length.
        """
        value = score(self.metric.name, self.inputs.build(predictions, references)).value
        return {self.metric.name: float("nan") if value is None else value}


def load_metric(name: str, *, multilabel: bool = False, **options: Any) -> FinetuneMetric:
    """Return the metric called `name` as an `evaluate` module; `options` are those of `evaluate.Metric`.

    A metric that is defined for one label a row and for several at once is that of one, unless `multilabel` is asked for.

    Raises:
        RecipeError: no metric has this name, or it isn't one of predictions and references of this kind.
    """
    return FinetuneMetric(name, multilabel=multilabel, **options)


def _find_inputs(metric: Metric, *, multilabel: bool) -> _Inputs:
    kind: Kind = MultilabelAnswers if multilabel else next(iter(metric.compute))
    inputs = _INPUTS.get((kind, metric.needs))
    if inputs is None or kind not in metric.compute:
        wanted = "of several labels at once" if multilabel else "of predictions and references"
        raise RecipeError([f"{metric.name} is no metric {wanted}"])
    return inputs


def _from_ids(predictions: Sequence[int], references: Sequence[int]) -> Answers:
    expected = np.asarray(references, dtype=np.int64)
    return build_answers(expected, _one_hot(predictions, expected))


def _from_probabilities(predictions: Sequence[Sequence[float]], references: Sequence[int]) -> Answers:
    return build_answers(np.asarray(references, dtype=np.int64), _matrix(predictions))


def _from_sets(predictions: Sequence[Sequence[float]], references: Sequence[Sequence[int]]) -> MultilabelAnswers:
    expected = _matrix(references)
    if not np.isin(expected, (0, 1)).all():
        raise DataError("a label of references is neither 0 nor 1")
    return build_multilabel_answers(expected, _matrix(predictions))


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


_SETS: Final = datasets.Sequence(_ID)
_IDS_IN_WORDS, _HOLDS_IN_WORDS = "label ids", "for each row 0 or 1 for each label"
_INPUTS: Final[dict[tuple[Kind, str], _Inputs]] = {
    (Answers, "labels"): _Inputs(_IDS_IN_WORDS, _IDS_IN_WORDS, _ID, _ID, _from_ids),
    (Answers, "probabilities"): _Inputs(
        "for each row the probability of each class",
        _IDS_IN_WORDS,
        datasets.Sequence(_NUMBER),
        _ID,
        _from_probabilities,
    ),
    (RegressionAnswers, "numbers"): _Inputs(
        "numbers",
        "numbers",
        _NUMBER,
        _NUMBER,
        lambda predictions, references: build_regression_answers(references, predictions),
    ),
    (MultilabelAnswers, "labels"): _Inputs(_HOLDS_IN_WORDS, _HOLDS_IN_WORDS, _SETS, _SETS, _from_sets),
    (MultilabelAnswers, "probabilities"): _Inputs(
        "for each row the probability of each label", _HOLDS_IN_WORDS, datasets.Sequence(_NUMBER), _SETS, _from_sets
    ),
}
"""What goes into a metric, by kind of answers and what it needs of them."""
