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
from finetune.batching import Collator, Slot
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows, Features, choose_max_length, encode_features
from finetune.loss import balanced_class_weights, row_losses
from finetune.predict import predict_logits, probabilities_of

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
        class_weights: weight of each class in the loss, or None for equal ones.
    """

    model_class: ClassVar[str] = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str] = "single_label_classification"
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def encode(self, examples: "Dataset", part: "Part") -> Features:
        """Return the features of all examples."""
        return encode_features(examples, self.tokenizer, self.max_length)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Tensor]:
        """Return padded rows with `labels` and `weights` (batch,); a filler weighs nothing."""
        batch = Collator(self.tokenizer.pad_token_id)(rows)
        if self.class_weights is not None:
            batch["weights"] = batch["weights"] * torch.tensor(self.class_weights)[batch["labels"]]
        return batch

    def sum_weights(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the summed weight of the rows, (1,)."""
        return batch["weights"].sum()[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """Return the weighted sum of the rows' cross-entropies, (1,), and the model's outputs."""
        labels, weights = batch.pop("labels"), batch.pop("weights")
        outputs = model(**batch)
        return (row_losses(outputs.logits, labels, self.label_smoothing) * weights).sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> Answers:
        """Return the label and probabilities of every row."""
        logits = predict_logits(model, features, batch_size, process=process, processes=processes)
        return build_answers(features.labels, probabilities_of(logits))


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Classification:
    """Return the objective of a recipe whose rows carry one label each.

    Raises:
        SettingError: max_length or class weights don't fit the checkpoint or the labels.
    """
    limit = choose_max_length(recipe.data.max_length, config, tokenizer)
    smoothing = recipe.train.label_smoothing if recipe.train else 0.0
    return Classification(tokenizer, limit, class_weights_of(recipe, data), smoothing)


def class_weights_of(recipe: "Recipe", data: "TaskData") -> tuple[float, ...] | None:
    """Return the weight of each class in the loss, or None for equal ones.

    Raises:
        SettingError: not one weight a label.
    """
    stated = recipe.train.class_weights if recipe.train else None
    if stated is None:
        return None
    if stated == "balanced":
        counts = np.bincount(data.splits["train"].examples["label"], minlength=len(data.label_names))
        return balanced_class_weights([int(count) for count in counts])
    if len(stated) != len(data.label_names):
        raise SettingError(
            "train.class_weights",
            f"{len(stated)} weights, but {len(data.label_names)} labels: {', '.join(data.label_names)}",
        )
    return tuple(float(weight) for weight in stated)
