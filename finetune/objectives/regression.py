"""Regression: a number for a text or a pair of texts, by the one output of a head and the squared error.

Owns that loss and the way from outputs to numbers. Labels are learnt as they stand, so a saved model answers on their scale by itself; a
new head begins at their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor, nn

from finetune.answers import RegressionAnswers, build_regression_answers
from finetune.batching import Layout, Slot
from finetune.features import EncodedRow, FeatureRows, Features, choose_max_length, encode_features, labels_of
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
class Regression:
    """Learn the number of each row.

    Attributes:
        layout: how rows become tensors, padded or packed.
        train_mean: mean number of the train rows; 0 where there are none.
    """

    model_class: ClassVar[str] = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str] = "regression"
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    layout: Layout
    train_mean: float = 0.0

    def start_head(self, model: "PreTrainedModel") -> None:
        """Begin a new head at the mean number."""
        set_head_bias(model, np.array([self.train_mean]))

    def encode(self, examples: "Dataset", part: "Part") -> Features:
        """Return the features of all examples."""
        return encode_features(examples, self.tokenizer, self.max_length)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return rows with `labels` and `weights` (batch,); a filler weighs nothing."""
        batch = self.layout(rows)
        return batch | {"labels": batch["labels"].float()}

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the number of rows, (1,)."""
        return batch["weights"].sum()[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the sum of the rows' squared errors, (1,), and the model's outputs."""
        labels, weights = batch.pop("labels"), batch.pop("weights")
        logits, outputs = pooled_logits(model, batch)
        return ((logits[:, 0].float() - labels).square() * weights).sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> RegressionAnswers:
        """Return the number of every row."""
        logits = predict_logits(model, features, self.layout, batch_size, process=process, processes=processes)
        return build_regression_answers(features.labels, logits[:, 0])


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Regression:
    """Return the objective of a recipe whose rows carry a number each.

    Raises:
        SettingError: max_length doesn't fit the checkpoint.
    """
    train = data.splits.get("train")
    mean = float(np.mean(labels_of(train.examples))) if train is not None else 0.0
    limit = choose_max_length(recipe.data.max_length, config, tokenizer)
    return Regression(tokenizer, limit, choose_layout(recipe, tokenizer, config, limit, is_narrow=True), mean)
