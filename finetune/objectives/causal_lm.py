"""Causal language modelling: each token of a text from those before it (Radford et al. 2018, equation 1).

Owns the targets of a piece and the two ways of a batch: padded rows, or rows packed into blocks, with the same loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn

from finetune.answers import LanguageAnswers
from finetune.batching import Collator, Slot, count_batch, pad_rows
from finetune.errors import DataError, SettingError
from finetune.features import EncodedRow, FeatureRows
from finetune.likelihoods import answer_examples, sum_likelihoods
from finetune.masking import NOT_PREDICTED
from finetune.packing import PACKABLE, pack_rows
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
        is_packed: lay the rows of a training batch end to end in blocks of at most `max_length` tokens.
    """

    model_class: ClassVar[str] = "AutoModelForCausalLM"
    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = True

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    is_packed: bool = False

    def encode(self, examples: "Dataset", part: "Part") -> TextFeatures:
        """Return the pieces of all documents.

        Raises:
            DataError: there is no text, or train doesn't fill one block.
        """
        features = encode_overlapping(examples, self.tokenizer, self.max_length, part=part)
        tokens = len(features.tokens)
        if self.is_packed and part == "train" and tokens < self.max_length:
            raise DataError(
                f"train: {tokens} tokens in all, fewer than one block of {self.max_length}; "
                f"lower data.max_length, or set train.batching to grouped"
            )
        return features

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Tensor]:
        """Return padded rows or packed blocks, with `targets` (batch, tokens): the token that follows, or NOT_PREDICTED."""
        if not self.is_packed:
            return self.collate_padded(rows)
        ids, targets = [row.input_ids for row, _ in rows], [following_tokens(row, slot) for row, slot in rows]
        return pack_rows(ids, targets, self.max_length, self.tokenizer.pad_token_id) | count_batch(rows)

    def collate_padded(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Tensor]:
        """Return padded rows with their targets, both (batch, tokens)."""
        batch = Collator(self.tokenizer.pad_token_id)(rows)
        del batch["labels"], batch["weights"]
        return batch | {"targets": pad_rows([following_tokens(row, slot) for row, slot in rows], NOT_PREDICTED)}

    def sum_weights(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the number of predicted tokens, (1,)."""
        return count_supervised(batch["targets"])[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """Return the summed cross-entropies of the predicted tokens, (1,), and the model's outputs."""
        # With a cache of keys the model wouldn't tell packed rows apart.
        losses, _, outputs = predict_supervised(model, batch, batch.pop("targets"), use_cache=False)
        return losses.sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> LanguageAnswers:
        """Return how likely each document was; its end is predicted too, and has no bytes."""
        sums = sum_likelihoods(
            model,
            features,
            self.collate_padded,
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
        SettingError: the architecture fills masks, max_length doesn't fit the checkpoint, or batches can't be packed exactly for it.
    """
    if not is_causal(config):
        raise SettingError(
            "model",
            f"found a {config.model_type}, which reads in both directions; task {task.name} needs one that reads from left to right, "
            "such as gpt2",
        )
    is_packed = recipe.train is not None and recipe.train.batching == "packed"
    if is_packed and config.model_type not in PACKABLE:
        raise SettingError(
            "train.batching",
            f"packed is known to be exact for {', '.join(PACKABLE)}; for {config.model_type} take grouped or padded",
        )
    return CausalLM(tokenizer, choose_piece_length(recipe.data.max_length, config, tokenizer), is_packed)
