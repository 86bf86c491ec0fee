"""What a metric is: its name, its range, the kinds of answers that it is defined for, and what it gives where it has no value.

Owns the types alone. The formulas are in `class_metrics`, `regression_metrics`, `multilabel_metrics` and `language_metrics`, the
register is `metrics`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from finetune.answers import Answers, AnyAnswers, LanguageAnswers, MultilabelAnswers, RegressionAnswers

Kind = type[Answers] | type[RegressionAnswers] | type[MultilabelAnswers] | type[LanguageAnswers]

KINDS: Final[dict[Kind, str]] = {
    Answers: "classes",
    RegressionAnswers: "numbers",
    MultilabelAnswers: "several labels at once",
    LanguageAnswers: "likelihoods of text",
}
"""Every kind of answers, in words."""


@dataclass(frozen=True)
class Undefined:
    """A metric has no value for these rows."""

    reason: str


@dataclass(frozen=True)
class MetricValue:
    """The value of one metric, or None with the reason why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric as the registry and the reports know it.

    Attributes:
        name: the key in recipes and result files.
        title: the name in reports.
        higher_is_better: whether a larger value is a better model.
        low: smallest possible value for any number of classes.
        high: largest possible value for any number of classes, `inf` where there is no bound.
        needs: what the value depends on: the predicted labels alone, probabilities, numbers, or likelihoods.
        compute: the value for answers on at least one row, by each kind that it is defined for; `metrics.score` allows none.
    """

    name: str
    title: str
    higher_is_better: bool
    low: float
    high: float
    needs: Literal["labels", "probabilities", "numbers", "likelihoods"]
    compute: Mapping[Kind, Callable[..., float | Undefined]]

    def is_defined_for(self, answers: AnyAnswers) -> bool:
        """Say whether answers of this kind have such a metric at all."""
        return type(answers) in self.compute
