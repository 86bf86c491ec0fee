"""Classification: one of several labels for a text or a pair of texts, by the softmax of a head's logits.

Owns the weights of rows, the loss over them and the way to probabilities. Which label is predicted is `answers` and `decisions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from finetune.answers import Answers, build_answers
from finetune.batching import Layout, Slot
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows, Features, choose_max_length, encode_features, labels_of
from finetune.loss import balanced_class_weights, row_losses
from finetune.masking import NOT_PREDICTED
from finetune.packing import choose_layout
from finetune.pooling import pooled_logits
from finetune.predict import predict_logits, probabilities_of
from finetune.sentence_likelihood import is_causal
from finetune.supervised_head import compare_through_embeddings, count_supervised
from finetune.text_features import following_tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class Classification:
    """Learn the label of each row.

    Attributes:
        layout: how rows become tensors, padded or packed.
        class_weights: weight of each class in the loss, or None for equal ones.
        auxiliary_lm_weight: weight of a second term, the loss of predicting each of the row's tokens from those before it
            (Radford et al. 2018, equation 5).
    """

    model_class: ClassVar[str] = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str] = "single_label_classification"
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    layout: Layout
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    auxiliary_lm_weight: float = 0.0

    def encode(self, examples: "Dataset", part: "Part") -> Features:
        """Return the features of all examples."""
        return encode_features(examples, self.tokenizer, self.max_length)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return rows with `labels` and `weights` (batch,), maybe `targets` (batch, tokens); a filler weighs nothing."""
        batch = self.layout(rows)
        if self.class_weights is not None:
            batch["weights"] = batch["weights"] * torch.tensor(self.class_weights)[batch["labels"]]
        if self.auxiliary_lm_weight:
            batch["targets"] = self.layout.lay_out([following_tokens(row, slot) for row, slot in rows], NOT_PREDICTED)
        return batch

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the summed weight of the rows, and the number of predicted tokens where these are learnt too, (terms,)."""
        rows = batch["weights"].sum()
        return torch.stack([rows, count_supervised(batch["targets"])]) if "targets" in batch else rows[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the weighted sum of the rows' cross-entropies, maybe that of their tokens, (terms,), and the model's outputs."""
        labels, weights, targets = batch.pop("labels"), batch.pop("weights"), batch.pop("targets", None)
        logits, outputs = pooled_logits(model, batch, output_hidden_states=targets is not None)
        rows = (row_losses(logits, labels, self.label_smoothing) * weights).sum()
        if targets is None:
            return rows[None], outputs
        tokens = compare_through_embeddings(model, outputs.hidden_states[-1], targets).sum()
        return torch.stack([rows, tokens * self.auxiliary_lm_weight]), outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> Answers:
        """Return the label and probabilities of every row."""
        logits = predict_logits(model, features, self.layout, batch_size, process=process, processes=processes)
        return build_answers(features.labels, probabilities_of(logits))


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Classification:
    """Return the objective of a recipe whose rows carry one label each.

    Raises:
        SettingError: max_length, class weights or a language-model loss don't fit the checkpoint or the labels.
    """
    limit = choose_max_length(recipe.data.max_length, config, tokenizer)
    lm_weight = recipe.train.auxiliary_lm_weight if recipe.train else 0.0
    layout = choose_layout(recipe, tokenizer, config, limit, is_narrow=not lm_weight)
    if recipe.train is None:
        return Classification(tokenizer, limit, layout)
    if lm_weight and not is_causal(config):
        raise SettingError(
            "train.auxiliary_lm_weight",
            f"found {lm_weight:g}, but a {config.model_type} sees each token it would have to predict; leave it out",
        )
    weights = class_weights_of(recipe, data)
    return Classification(tokenizer, limit, layout, weights, recipe.train.label_smoothing, lm_weight)


def class_weights_of(recipe: "Recipe", data: "TaskData") -> tuple[float, ...] | None:
    """Return the weight of each class in the loss, or None for equal ones.

    Raises:
        SettingError: not one weight a label.
    """
    stated = recipe.train.class_weights if recipe.train else None
    if stated is None:
        return None
    if stated == "balanced":
        counts = np.bincount(labels_of(data.splits["train"].examples), minlength=len(data.label_names))
        return balanced_class_weights([int(count) for count in counts])
    if len(stated) != len(data.label_names):
        raise SettingError(
            "train.class_weights",
            f"{len(stated)} weights, but {len(data.label_names)} labels: {', '.join(data.label_names)}",
        )
    return tuple(float(weight) for weight in stated)
