"""The metrics of many weighted versions of the same rows at once, whatever their kind of answers.

Owns which module weighs which kind: `weighted_classes`, `weighted_regression`, `weighted_multilabel`, `weighted_language`. For weights of 1
their values are those of `metrics`.
"""

from finetune.answers import Answers, AnyAnswers, MultilabelAnswers, RegressionAnswers
from finetune.weighted_classes import WeightedClasses
from finetune.weighted_language import WeightedTexts
from finetune.weighted_multilabel import WeightedLabelSets
from finetune.weighted_regression import WeightedNumbers
from finetune.weighted_values import WeightedRows


def weigh(answers: AnyAnswers) -> WeightedRows:
    """Return the rows of answers, ready to be measured under weights."""
    if isinstance(answers, Answers):
        return WeightedClasses(answers)
    if isinstance(answers, RegressionAnswers):
        return WeightedNumbers(answers)
    if isinstance(answers, MultilabelAnswers):
        return WeightedLabelSets(answers)
    return WeightedTexts(answers)
