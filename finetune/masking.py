"""Masking: which tokens of a row a masked language model has to predict, and what it sees in their place.

Owns the draw of Devlin et al. (2019), section 3.1: of the chosen tokens 80 % are masked, 10 % replaced by a random one, 10 % kept. What
is drawn for a row follows from (seed, epoch, row) alone: anew each epoch (RoBERTa's dynamic masking), yet the same however a batch is
cut. Knows no model and no loss.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetune.errors import SettingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.batching import Slot
    from finetune.features import EncodedRow

Ids = NDArray[np.int64]

NOT_PREDICTED: Final = -100
"""The target of a position whose token isn't to be predicted, as torch's cross-entropy has it."""
MASKED, REPLACED = 0.8, 0.1


def mask_tokens(
    input_ids: NDArray[np.integer],
    is_special: NDArray[np.bool_],
    generator: np.random.Generator,
    probability: float,
    word_starts: NDArray[np.bool_] | None,
    mask_id: int,
    vocabulary: NDArray[np.integer],
) -> tuple[Ids, Ids]:
    """Return what the model sees of one row, and the tokens it has to predict, NOT_PREDICTED elsewhere; all are (tokens,).

    Each token that isn't special is chosen by itself with `probability`, so a short row may have none. With `word_starts` a word is
    chosen as a whole, while each of its tokens is masked, replaced or kept by itself, as in BERT's own code. A replacement is drawn from
    `vocabulary`, ids that hold no special token.
    """
    if word_starts is None:
        is_chosen = generator.random(len(input_ids)) < probability
    else:
        words = np.cumsum(word_starts)
        is_chosen = (generator.random(len(input_ids) + 1) < probability)[words]
    is_chosen &= ~is_special
    fate = generator.random(len(input_ids))
    others = vocabulary[generator.integers(len(vocabulary), size=len(input_ids))]
    seen = np.where(is_chosen & (fate < MASKED), mask_id, input_ids)
    seen = np.where(is_chosen & (fate >= MASKED) & (fate < MASKED + REPLACED), others, seen)
    return seen.astype(np.int64), np.where(is_chosen, input_ids, NOT_PREDICTED).astype(np.int64)


@dataclass(frozen=True)
class Masking:
    """How the rows of a run are masked; made by `build_masking`.

    Attributes:
        special_ids: never masked, never predicted.
        vocabulary: every other id of the tokenizer.
        probability: share of tokens to predict.
    """

    mask_id: int
    special_ids: Ids
    vocabulary: Ids
    probability: float
    whole_words: bool = False

    def is_special(self, input_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Say which tokens of a row can't be masked, (tokens,)."""
        return np.isin(input_ids, self.special_ids)

    def mask_row(self, row: "EncodedRow", slot: "Slot") -> tuple[Ids, Ids]:
        """Return what the model sees of a row in its slot, and the tokens to predict, both (tokens,); none of a filler.

        Rows that are measured come in slots of seed 0 and epoch 0, so each is masked the same way every time.
        """
        if slot.is_filler:
            return row.input_ids.astype(np.int64), np.full(len(row.input_ids), NOT_PREDICTED, dtype=np.int64)
        return mask_tokens(
            row.input_ids,
            self.is_special(row.input_ids),
            np.random.default_rng((slot.seed, slot.epoch, slot.number)),
            self.probability,
            row.word_starts if self.whole_words else None,
            self.mask_id,
            self.vocabulary,
        )


def build_masking(tokenizer: "PreTrainedTokenizerBase", probability: float, *, whole_words: bool) -> Masking:
    """Return how rows of a tokenizer are masked.

    Raises:
        SettingError: the tokenizer has no mask token, or can't say where words begin.
    """
    if tokenizer.mask_token_id is None:
        raise SettingError("model", "the tokenizer has no mask token, which masked language modelling needs")
    if whole_words and not tokenizer.is_fast:
        raise SettingError("train.whole_word_masking", "the tokenizer can't say where words begin; leave it out")
    special = np.unique(tokenizer.all_special_ids)
    vocabulary = np.setdiff1d(np.arange(len(tokenizer)), special)
    return Masking(tokenizer.mask_token_id, special, vocabulary, probability, whole_words)
