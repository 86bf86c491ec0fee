"""What a language model has to beat: a unigram model, which knows how frequent each token is and nothing of its neighbours.

Owns that baseline. It is asked for exactly the tokens that the model is asked for, masks included.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from finetune.answers import LanguageAnswers
from finetune.masking import NOT_PREDICTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from finetune.batching import Slot
    from finetune.features import EncodedRow, FeatureRows


class LanguageObjective(Protocol):
    """An objective that asks for tokens."""

    def collate(self, rows: "Sequence[tuple[EncodedRow, Slot]]") -> "dict[str, Tensor]":
        """Return a batch with `targets` (batch, tokens)."""
        ...

    def predictable_tokens(self, row: "EncodedRow") -> NDArray:
        """Return the ids of a row that may be asked for."""
        ...


def unigram_answers(
    objective: LanguageObjective, train_features: "FeatureRows", test_features: "FeatureRows", vocabulary: int
) -> LanguageAnswers:
    """Return how likely the test tokens are by their frequency in train, one added to the count of each of `vocabulary` ids."""
    from finetune.batching import Slot
    from finetune.likelihoods import RowSums, answer_examples

    counts = np.ones(vocabulary, dtype=np.int64)
    for number in range(len(train_features)):
        np.add.at(counts, objective.predictable_tokens(train_features[number]), 1)
    surprise, likeliest = np.log(counts.sum()) - np.log(counts), int(counts.argmax())
    sums = RowSums(*np.zeros((3, len(test_features))))
    for number in range(len(test_features)):
        # The slot of a measurement: the masks are those that the model meets.
        targets = objective.collate([(test_features[number], Slot(number))])["targets"].numpy()
        asked = targets[targets != NOT_PREDICTED]
        sums.losses[number] = surprise[asked].sum()
        sums.tokens[number] = len(asked)
        sums.right[number] = (asked == likeliest).sum()
    return answer_examples(test_features, sums)
