"""The metrics of every kind of answers: the register by name, and the value of one for the answers on some rows.

Owns names, titles and ranges. A metric that has no value for these rows is undefined with a reason: it is never 0 by accident and
never a warning. Formulas are in `class_metrics`, `regression_metrics`, `multilabel_metrics` and `language_metrics`; intervals in
`statistics`, comparisons in `paired_tests`; the same metrics as `evaluate` modules in `evaluate_metrics`.
"""

import math
from typing import Final

from finetune import class_metrics as of_classes
from finetune import language_metrics as of_text
from finetune import multilabel_metrics as of_sets
from finetune import regression_metrics as of_numbers
from finetune.answers import Answers, AnyAnswers, LanguageAnswers, MultilabelAnswers, RegressionAnswers
from finetune.errors import RecipeError, suggest
from finetune.metric import KINDS, Kind, Metric, MetricValue, Undefined

NO_ROWS: Final = "no rows"


def get_metric(name: str) -> Metric:
    """Return the metric called `name`.

    Raises:
        RecipeError: no metric has this name; the message lists those there are.
    """
    if name not in METRICS:
        raise RecipeError([f"unknown metric {name!r}, allowed are {', '.join(METRICS)}{suggest(name, list(METRICS))}"])
    return METRICS[name]


def list_metrics(kind: Kind) -> list[str]:
    """Return the names of the metrics that are defined for a kind of answers."""
    return [name for name, metric in METRICS.items() if kind in metric.compute]


def score(name: str, answers: AnyAnswers) -> MetricValue:
    """Return the value of one metric; of answers of another kind than it is defined for it has none.

    Raises:
        RecipeError: no metric has this name.
    """
    metric = get_metric(name)
    if not metric.is_defined_for(answers):
        return MetricValue(None, f"defined for {' and '.join(KINDS[kind] for kind in metric.compute)} only")
    outcome = metric.compute[type(answers)](answers) if len(answers) else Undefined(NO_ROWS)
    return MetricValue(None, outcome.reason) if isinstance(outcome, Undefined) else MetricValue(outcome)


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric(
            "matthews_correlation", "Matthews correlation", True, -1.0, 1.0, "labels", {Answers: of_classes.matthews}
        ),
        Metric("accuracy", "Accuracy", True, 0.0, 1.0, "labels", {Answers: of_classes.accuracy}),
        Metric(
            "balanced_accuracy", "Balanced accuracy", True, 0.0, 1.0, "labels", {Answers: of_classes.balanced_accuracy}
        ),
        Metric("f1", "F1", True, 0.0, 1.0, "labels", {Answers: of_classes.f1}),
        Metric(
            "macro_f1",
            "Macro F1",
            True,
            0.0,
            1.0,
            "labels",
            {Answers: of_classes.macro_f1, MultilabelAnswers: of_sets.macro_f1},
        ),
        Metric("micro_f1", "Micro F1", True, 0.0, 1.0, "labels", {MultilabelAnswers: of_sets.micro_f1}),
        Metric("precision", "Precision", True, 0.0, 1.0, "labels", {Answers: of_classes.precision}),
        Metric("recall", "Recall", True, 0.0, 1.0, "labels", {Answers: of_classes.recall}),
        Metric(
            "subset_accuracy", "Subset accuracy", True, 0.0, 1.0, "labels", {MultilabelAnswers: of_sets.subset_accuracy}
        ),
        Metric("hamming_loss", "Hamming loss", False, 0.0, 1.0, "labels", {MultilabelAnswers: of_sets.hamming_loss}),
        Metric(
            "roc_auc",
            "ROC AUC",
            True,
            0.0,
            1.0,
            "probabilities",
            {Answers: of_classes.roc_auc, MultilabelAnswers: of_sets.roc_auc},
        ),
        Metric(
            "pr_auc",
            "PR AUC",
            True,
            0.0,
            1.0,
            "probabilities",
            {Answers: of_classes.pr_auc, MultilabelAnswers: of_sets.pr_auc},
        ),
        Metric("brier", "Brier score", False, 0.0, 2.0, "probabilities", {Answers: of_classes.brier}),
        Metric(
            "expected_calibration_error",
            "Calibration error (ECE)",
            False,
            0.0,
            1.0,
            "probabilities",
            {Answers: of_classes.calibration_error},
        ),
        Metric("log_loss", "Log loss", False, 0.0, math.inf, "probabilities", {Answers: of_classes.log_loss}),
        Metric("pearson", "Pearson correlation", True, -1.0, 1.0, "numbers", {RegressionAnswers: of_numbers.pearson}),
        Metric(
            "spearman", "Spearman correlation", True, -1.0, 1.0, "numbers", {RegressionAnswers: of_numbers.spearman}
        ),
        Metric(
            "mean_squared_error",
            "Mean squared error",
            False,
            0.0,
            math.inf,
            "numbers",
            {RegressionAnswers: of_numbers.mean_squared_error},
        ),
        Metric(
            "mean_absolute_error",
            "Mean absolute error",
            False,
            0.0,
            math.inf,
            "numbers",
            {RegressionAnswers: of_numbers.mean_absolute_error},
        ),
        Metric("token_loss", "Token loss", False, 0.0, math.inf, "likelihoods", {LanguageAnswers: of_text.token_loss}),
        Metric("perplexity", "Perplexity", False, 1.0, math.inf, "likelihoods", {LanguageAnswers: of_text.perplexity}),
        Metric(
            "token_accuracy", "Token accuracy", True, 0.0, 1.0, "likelihoods", {LanguageAnswers: of_text.token_accuracy}
        ),
        Metric(
            "bits_per_byte",
            "Bits per byte",
            False,
            0.0,
            math.inf,
            "likelihoods",
            {LanguageAnswers: of_text.bits_per_byte},
        ),
        Metric(
            "next_sentence_accuracy",
            "Next-sentence accuracy",
            True,
            0.0,
            1.0,
            "likelihoods",
            {LanguageAnswers: of_text.next_sentence_accuracy},
        ),
        Metric(
            "next_sentence_loss",
            "Next-sentence loss",
            False,
            0.0,
            math.inf,
            "likelihoods",
            {LanguageAnswers: of_text.next_sentence_loss},
        ),
    )
}
"""Every metric by name, in the order of the reports."""
