"""The metrics of a language model: means over predicted tokens or bytes, and which sentence follows.

Owns the formulas, which take the `LanguageAnswers` on at least one row. A mean is a ratio of sums over all rows, so that a long text counts
as much as its tokens. Names and ranges are in `metrics`.
"""

import math
from typing import Final

from finetune import class_metrics
from finetune.answers import LanguageAnswers
from finetune.metric import Undefined

NO_TOKENS: Final = "no token is predicted"
NO_BYTES: Final = "not every token of a text is predicted"
NOT_ASKED: Final = "the model isn't asked which sentence follows"
TOO_LARGE: Final = "too large to be written down"

HIGHEST_TOKEN_LOSS: Final = 700.0
"""Nats from which a perplexity is no number: its exponential is beyond a 64-bit float."""


def token_loss(answers: LanguageAnswers) -> float | Undefined:
    """Return the mean loss of a predicted token, in nats."""
    tokens = int(answers.tokens.sum())
    return float(answers.losses.sum()) / tokens if tokens else Undefined(NO_TOKENS)


def perplexity(answers: LanguageAnswers) -> float | Undefined:
    """Return the exponential of the mean loss: among how many equally likely tokens the model is undecided (Jelinek et al. 1977)."""
    loss = token_loss(answers)
    if isinstance(loss, Undefined):
        return loss
    return math.exp(loss) if loss <= HIGHEST_TOKEN_LOSS else Undefined(TOO_LARGE)


def token_accuracy(answers: LanguageAnswers) -> float | Undefined:
    """Return the share of predicted tokens that were the most likely ones."""
    tokens = int(answers.tokens.sum())
    return int(answers.right.sum()) / tokens if tokens else Undefined(NO_TOKENS)


def bits_per_byte(answers: LanguageAnswers) -> float | Undefined:
    """Return the loss in bits over the bytes of the text, which models with different tokens can be compared by."""
    text_bytes = int(answers.text_bytes.sum())
    return float(answers.losses.sum()) / math.log(2) / text_bytes if text_bytes else Undefined(NO_BYTES)


def next_sentence_accuracy(answers: LanguageAnswers) -> float | Undefined:
    """Return the share of pairs of which the model says rightly whether the second sentence follows the first."""
    return Undefined(NOT_ASKED) if answers.next_sentence is None else class_metrics.accuracy(answers.next_sentence)


def next_sentence_loss(answers: LanguageAnswers) -> float | Undefined:
    """Return the mean loss of that answer, in nats."""
    return Undefined(NOT_ASKED) if answers.next_sentence is None else class_metrics.log_loss(answers.next_sentence)
