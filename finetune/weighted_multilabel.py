"""The metrics of several labels at once of many weighted versions of the same rows, which resampling needs.

Owns a formula for each metric of `multilabel_metrics` that takes the row weights of all versions together. For weights of 1 each agrees
with `multilabel_metrics`, which owns definitions and the rules for undefined cases; here undefined is NaN.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from finetune.answers import MultilabelAnswers
from finetune.multilabel_metrics import are_right, wrong_shares
from finetune.weighted_areas import AREAS, Ranking, weighted_areas
from finetune.weighted_values import Values, Weights, divide, mean_of_defined, weighted_means

_OF_DECISIONS: Final = frozenset({"macro_f1", "micro_f1", "subset_accuracy", "hamming_loss"})


class WeightedLabelSets:
    """Rows with sets of labels, and what all weighted versions of them share, such as their order by score."""

    def __init__(self, answers: MultilabelAnswers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = {}
        if not _OF_DECISIONS.isdisjoint(names):
            measured = self._measure_decisions(weights)
            found |= {name: values for name, values in measured.items() if name in names}
        if ranked := [name for name in names if name in AREAS]:
            areas = weighted_areas(self.rankings, ranked, weights)
            found |= {name: mean_of_defined(by_label.T) for name, by_label in areas.items()}
        return found

    def _measure_decisions(self, weights: Weights) -> dict[str, Values]:
        means = weighted_means(weights, self.decisions)
        both, either, subset_accuracy, hamming_loss = np.split(means, self.cuts, axis=1)
        return {
            "macro_f1": mean_of_defined(divide(2 * both, either)),
            "micro_f1": divide(2 * both.sum(axis=1), either.sum(axis=1)),
            "subset_accuracy": subset_accuracy[:, 0],
            "hamming_loss": hamming_loss[:, 0],
        }

    @cached_property
    def decisions(self) -> Values:
        """Return for each row which labels are expected and predicted, how often either, whether all are right, the share wrong.

        They are (rows, 2 × labels + 2), cut at `cuts`.
        """
        expected, predicted = self.answers.expected, self.answers.predicted
        return np.column_stack(
            [
                expected & predicted,
                expected.astype(np.int64) + predicted,
                are_right(self.answers),
                wrong_shares(self.answers),
            ]
        ).astype(np.float64)

    @property
    def cuts(self) -> list[int]:
        """Where `decisions` goes on to something else."""
        labels = self.answers.expected.shape[1]
        return [labels, 2 * labels, 2 * labels + 1]

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Return the order of the rows by each label."""
        columns = zip(self.answers.probabilities.T, self.answers.expected.T, strict=True)
        return [Ranking.of(probabilities, expected) for probabilities, expected in columns]
