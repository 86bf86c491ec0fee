"""Several seeds as one: what their mean answers to the same rows.

Owns how answers are averaged. Whose scores a report shows first is `run_report`.
"""

from collections.abc import Sequence

import numpy as np

from finetune.answers import (
    Answers,
    AnyAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_multilabel_answers,
    build_regression_answers,
)


def average_answers(answers: Sequence[AnyAnswers]) -> AnyAnswers | None:
    """Return the answers by the mean probabilities, or the mean numbers, of several models on the same rows.

    None for likelihoods of text: the mixture of language models isn't known from the sums that they leave.
    """
    first = answers[0]
    if isinstance(first, Answers):
        return build_answers(first.expected, np.mean([_probabilities(one) for one in answers], axis=0))
    if isinstance(first, MultilabelAnswers):
        return build_multilabel_answers(first.expected, np.mean([_probabilities(one) for one in answers], axis=0))
    if isinstance(first, RegressionAnswers):
        predicted = [one.predicted for one in answers if isinstance(one, RegressionAnswers)]
        return build_regression_answers(first.expected, np.mean(predicted, axis=0))
    return None


def _probabilities(answers: AnyAnswers) -> np.ndarray:
    assert isinstance(answers, Answers | MultilabelAnswers)
    return answers.probabilities
