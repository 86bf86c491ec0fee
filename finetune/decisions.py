"""From probabilities to honest probabilities and labels: a temperature and a threshold, both fitted on dev.

Owns fitting and applying them, and the record that lies beside a model. Which rows are dev is decided in `data`.
"""

from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from finetune.answers import Answers, AnyAnswers, Labels, Probabilities, build_answers, predicted_labels
from finetune.class_metrics import log_losses
from finetune.errors import DataError, SettingError
from finetune.findings import Decision
from finetune.metrics import get_metric
from finetune.recipe_sections import Costs, EvaluateSettings
from finetune.weighted_classes import count_values
from finetune.weighted_values import Values

LARGEST_TEMPERATURE: Final = 20.0
"""Bounds of the search; a better temperature outside says that the model is useless or separates dev perfectly."""


def temper(probabilities: Probabilities, temperature: float | None) -> Probabilities:
    """Return the probabilities (rows, classes) that the logits divided by `temperature` would give; None leaves them."""
    if temperature is None:
        return probabilities
    from scipy.special import softmax

    # Logits are logarithms of probabilities up to a constant a row, which softmax doesn't see.
    with np.errstate(divide="ignore"):
        return np.asarray(softmax(np.log(probabilities) / temperature, axis=1))


def fit_temperature(expected: Labels, probabilities: Probabilities) -> float:
    """Return the temperature with the least log loss on dev (Guo et al. 2017, section 4.2).

    Takes `expected` (rows,) and `probabilities` (rows, classes) at temperature 1.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return float(log_losses(expected, temper(probabilities, float(np.exp(logarithm)))).mean())

    limit = float(np.log(LARGEST_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def choose_threshold(expected: Labels, probabilities: Probabilities, aim: str | Costs) -> float:
    """Return the probability of label 1 from which predicting it is best on dev; of equally good ones the nearest to 0.5.

    Takes `expected` (rows,) and `probabilities` (rows, 2). Candidates lie half-way between neighbouring probabilities.
    """
    scores = probabilities[:, 1]
    levels = np.unique(scores)
    candidates = np.concatenate(([0.0], (levels[:-1] + levels[1:]) / 2, [1.0], [0.5]))
    is_positive = expected == 1
    # How many of each class lie below a candidate, and so are predicted as label 0.
    below = [np.searchsorted(np.sort(scores[mask]), candidates) for mask in (~is_positive, is_positive)]
    counts = np.empty((len(candidates), 2, 2))
    for label, mask in enumerate((~is_positive, is_positive)):
        counts[:, label, 0], counts[:, label, 1] = below[label], mask.sum() - below[label]
    gains = _gains(counts, aim)
    best = np.flatnonzero(gains >= np.nanmax(gains) - 1e-12)
    return float(candidates[best[np.abs(candidates[best] - 0.5).argmin()]])


def _gains(counts: Values, aim: str | Costs) -> Values:
    """Return what is to be made as large as possible, (candidates,), from confusion counts (candidates, 2, 2)."""
    if isinstance(aim, Costs):
        return -(aim.false_positive * counts[:, 0, 1] + aim.false_negative * counts[:, 1, 0])
    values = count_values(aim, counts)
    return np.zeros_like(values) if np.isnan(values).all() else values


def describe_aim(aim: str | Costs | None) -> str:
    """Return what a threshold is chosen for, in words."""
    if isinstance(aim, Costs):
        return f"least cost, {aim.false_positive:g} a false positive and {aim.false_negative:g} a false negative"
    return f"best {get_metric(aim).title}" if aim is not None else ""


def fit_decision(
    expected: Labels, probabilities: Probabilities, settings: EvaluateSettings, predictor: str = "model"
) -> Decision:
    """Return what the recipe asks to fit on dev, from `expected` (rows,) and `probabilities` (rows, classes) there."""
    temperature = fit_temperature(expected, probabilities) if settings.temperature else None
    threshold = None
    if settings.threshold is not None:
        threshold = choose_threshold(expected, temper(probabilities, temperature), settings.threshold)
    return Decision(
        predictor=predictor,
        temperature=temperature,
        threshold=threshold,
        chosen_for=describe_aim(settings.threshold),
        dev_rows=len(expected),
    )


def decide(expected: Labels, probabilities: Probabilities, decision: Decision | None) -> Answers:
    """Return the answers that probabilities (rows, classes) at the decision's temperature give under its threshold."""
    threshold = decision.threshold if decision else None
    return build_answers(expected, probabilities, predicted_labels(probabilities, threshold))


def apply_decision(answers: AnyAnswers, decision: Decision | None) -> AnyAnswers:
    """Return answers as what was fitted on dev changes them; those without classes stay as they are."""
    if decision is None or not isinstance(answers, Answers):
        return answers
    return decide(answers.expected, temper(answers.probabilities, decision.temperature), decision)


def refuse_threshold_of_many_labels(settings: EvaluateSettings, labels: int) -> None:
    """Refuse a threshold where there are not two labels.

    Raises:
        SettingError: there are more.
    """
    if settings.threshold is not None and labels != 2:
        raise SettingError("evaluate.threshold", f"a threshold tells two labels apart, here are {labels}")


def read_decision(path: Path) -> Decision | None:
    """Return the decision that lies beside a model, or None where nothing was fitted.

    Raises:
        DataError: the file is no decision.
    """
    if not path.exists():
        return None
    try:
        return Decision.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise DataError(f"{path}: not a decision of this program: {first}") from None
