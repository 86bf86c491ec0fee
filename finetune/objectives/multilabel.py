"""Multi-label classification: which of several labels hold for a text or a pair of texts, each by the sigmoid of its own logit.

Owns the weights of labels, the loss over them and the way to probabilities. From which probability a label is predicted is `answers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.answers import MultilabelAnswers, build_multilabel_answers
from finetune.batching import Layout, Slot
from finetune.data_checks import read_labels
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows, Features, choose_max_length, encode_features
from finetune.head_bias import set_head_bias
from finetune.packing import choose_layout
from finetune.pooling import pooled_logits
from finetune.predict import predict_logits

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class Multilabel:
    """Learn which labels hold for each row.

    Attributes:
        layout: how rows become tensors, padded or packed.
        positive_weights: how much more a row counts for a label that it has than for one that it hasn't, or None for as much.
        odds: of each label in the train rows, rows that have it over rows that haven't; None where there are no train rows.
    """

    model_class: ClassVar[str] = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str] = "multi_label_classification"
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    layout: Layout
    positive_weights: tuple[float, ...] | None = None
    odds: tuple[float, ...] | None = None

    def start_head(self, model: "PreTrainedModel") -> None:
        """Begin a new head at how common each label is."""
        if self.odds is None:
            return
        weights = np.ones(len(self.odds)) if self.positive_weights is None else np.array(self.positive_weights)
        # Where all rows get the same logit, this one has the least weighted loss.
        set_head_bias(model, np.log(weights * self.odds))

    def encode(self, examples: "Dataset", part: "Part") -> Features:
        """Return the features of all examples."""
        return encode_features(examples, self.tokenizer, self.max_length)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return rows with `labels` (batch, labels) and `weights` (batch,); a filler weighs nothing."""
        return self.layout(rows)

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the number of rows, (1,)."""
        return batch["weights"].sum()[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the sum over rows of the mean cross-entropy of a row's labels, (1,), and the model's outputs."""
        labels, weights = batch.pop("labels"), batch.pop("weights")
        logits, outputs = pooled_logits(model, batch)
        positive = None if self.positive_weights is None else torch.tensor(self.positive_weights, device=labels.device)
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), labels, reduction="none", pos_weight=positive
        )
        return (losses.mean(dim=1) * weights).sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> MultilabelAnswers:
        """Return the labels and probabilities of every row."""
        from scipy.special import expit

        logits = predict_logits(model, features, self.layout, batch_size, process=process, processes=processes)
        return build_multilabel_answers(features.labels, expit(logits.astype(np.float64)))


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Multilabel:
    """Return the objective of a recipe whose rows carry several labels each.

    Raises:
        SettingError: max_length or label weights don't fit the checkpoint or the labels.
    """
    limit = choose_max_length(recipe.data.max_length, config, tokenizer)
    odds = _odds_of(data)
    layout = choose_layout(recipe, tokenizer, config, limit, is_narrow=True)
    return Multilabel(tokenizer, limit, layout, _positive_weights_of(recipe, data, odds), odds)


def _odds_of(data: "TaskData") -> tuple[float, ...] | None:
    """Return the odds of each label in the train rows; of one that all rows have, or none, one row is taken to be otherwise."""
    if "train" not in data.splits:
        return None
    holds = read_labels(data.splits["train"].examples)
    assert holds is not None
    positives = holds.sum(axis=0)
    return tuple(float(odds) for odds in np.maximum(positives, 1) / np.maximum(len(holds) - positives, 1))


def _positive_weights_of(
    recipe: "Recipe", data: "TaskData", odds: tuple[float, ...] | None
) -> tuple[float, ...] | None:
    """Return how much more each label counts where it holds, or None; balanced: as much in all where it holds as where it doesn't."""
    stated = recipe.train.class_weights if recipe.train else None
    if stated is None or odds is None:
        return None
    if stated == "balanced":
        return tuple(1 / of_label for of_label in odds)
    if len(stated) != len(data.label_names):
        names = ", ".join(data.label_names)
        raise SettingError("train.class_weights", f"{len(stated)} weights, but {len(data.label_names)} labels: {names}")
    return tuple(float(weight) for weight in stated)
