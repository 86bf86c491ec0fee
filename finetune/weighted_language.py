"""The metrics of a language model of many weighted versions of the same texts at once, which resampling needs.

Owns a formula for each metric of `language_metrics` that takes the row weights of all versions together. For weights of 1 each agrees with
`language_metrics`, which owns definitions and the rules for undefined cases; here undefined is NaN.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from finetune.answers import LanguageAnswers
from finetune.language_metrics import HIGHEST_TOKEN_LOSS
from finetune.weighted_classes import WeightedClasses
from finetune.weighted_values import Values, Weights, divide

OF_PAIRS: Final = {"next_sentence_accuracy": "accuracy", "next_sentence_loss": "log_loss"}
"""{metric of a language model: the same of classes} of which sentence follows."""


class WeightedTexts:
    """Rows of text with what all weighted versions of them share."""

    def __init__(self, answers: LanguageAnswers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = self._measure_tokens(weights) | self._measure_pairs(names, weights)
        return {name: found[name] for name in names}

    def _measure_tokens(self, weights: Weights) -> dict[str, Values]:
        losses, tokens, right, text_bytes = (weights.astype(np.float64, copy=False) @ self.columns).T
        token_loss = divide(losses, tokens)
        is_written = token_loss <= HIGHEST_TOKEN_LOSS
        return {
            "token_loss": token_loss,
            "perplexity": np.exp(token_loss, out=np.full(len(losses), np.nan), where=is_written),
            "token_accuracy": divide(right, tokens),
            "bits_per_byte": divide(losses / math.log(2), text_bytes),
        }

    def _measure_pairs(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        wanted = {name: OF_PAIRS[name] for name in names if name in OF_PAIRS}
        if self.pairs is None:
            return {name: np.full(len(weights), np.nan) for name in wanted}
        found = self.pairs.values(list(wanted.values()), weights)
        return {name: found[of_classes] for name, of_classes in wanted.items()}

    @cached_property
    def columns(self) -> Values:
        """Return what is summed over rows, (rows, 4): losses, predicted tokens, right ones, bytes."""
        answers = self.answers
        return np.column_stack([answers.losses, answers.tokens, answers.right, answers.text_bytes]).astype(np.float64)

    @cached_property
    def pairs(self) -> WeightedClasses | None:
        """Return the rows as pairs of sentences, where it is asked which follows."""
        return None if self.answers.next_sentence is None else WeightedClasses(self.answers.next_sentence)
