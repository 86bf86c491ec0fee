"""Causal language modelling: each token of a text from those before it (Radford et al. 2018, equation 1).

Owns the targets of a piece and the loss over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn

from finetune.answers import LanguageAnswers
from finetune.batching import Layout, Slot
from finetune.errors import DataError, SettingError
from finetune.features import EncodedRow, FeatureRows
from finetune.likelihoods import answer_examples, sum_likelihoods
from finetune.masking import NOT_PREDICTED
from finetune.packing import choose_layout
from finetune.sentence_likelihood import is_causal
from finetune.supervised_head import count_supervised, predict_supervised
from finetune.text_features import TextFeatures, choose_piece_length, encode_overlapping, following_tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class CausalLM:
    """Learn the next token at every place of a piece.

    Attributes:
        layout: how pieces become tensors, padded or packed.
    """

    model_class: ClassVar[str] = "AutoModelForCausalLM"
    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = True

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    layout: Layout

    def encode(self, examples: "Dataset", part: "Part") -> TextFeatures:
        """Return the pieces of all documents.

        Raises:
            DataError: there is no text, or train doesn't fill one piece.
        """
        features = encode_overlapping(examples, self.tokenizer, self.max_length, part=part)
        tokens = len(features.tokens)
        if part == "train" and tokens < self.max_length:
            raise DataError(
                f"train: {tokens} tokens in all, fewer than one piece of {self.max_length}; lower data.max_length"
            )
        return features

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return rows with `targets` (batch, tokens): the token that follows, or NOT_PREDICTED."""
        batch = self.layout(rows)
        del batch["labels"], batch["weights"]
        following = [following_tokens(row, slot) for row, slot in rows]
        return batch | {"targets": self.layout.lay_out(following, NOT_PREDICTED)}

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the number of predicted tokens, (1,)."""
        return count_supervised(batch["targets"])[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the summed cross-entropies of the predicted tokens, (1,), and the model's outputs."""
        losses, _, outputs = predict_supervised(model, batch, batch.pop("targets"), use_cache=False)
        return losses.sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> LanguageAnswers:
        """Return how likely each document was; its end is predicted too, and has no bytes."""
        sums = sum_likelihoods(
            model,
            features,
            self.collate,
            batch_size,
            process=process,
            processes=processes,
            use_cache=False,
        )
        return answer_examples(features, sums)

    def predictable_tokens(self, row: EncodedRow) -> NDArray:
        """Return the ids of a row that are asked for."""
        return row.input_ids[1:]


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> CausalLM:
    """Return the objective of a recipe that learns to continue texts.

    Raises:
        SettingError: the architecture fills masks, or max_length doesn't fit the checkpoint.
    """
    if not is_causal(config):
        raise SettingError(
            "model",
            f"found a {config.model_type}, which reads in both directions; task {task.name} needs one that reads from left to right, "
            "such as gpt2",
        )
    limit = choose_piece_length(recipe.data.max_length, config, tokenizer)
    return CausalLM(tokenizer, limit, choose_layout(recipe, tokenizer, config, limit))
