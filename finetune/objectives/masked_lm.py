"""Masked language modelling: some tokens of a text are hidden, and the model says what they were (Devlin et al. 2019).

Owns pieces side by side, masks drawn anew each epoch, and the loss over masked tokens alone. How tokens are drawn is `masking`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn

from finetune.answers import LanguageAnswers
from finetune.batching import Layout, Slot
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows
from finetune.likelihoods import answer_examples, sum_likelihoods
from finetune.masking import NOT_PREDICTED, Masking, build_masking
from finetune.packing import choose_layout
from finetune.recipe_sections import TrainSettings
from finetune.sentence_likelihood import is_causal
from finetune.supervised_head import count_supervised, predict_supervised
from finetune.text_features import TextFeatures, choose_piece_length, encode_side_by_side

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class MaskedLM:
    """Learn what stands behind the masks of each piece.

    Attributes:
        layout: how pieces become tensors, padded or packed.
    """

    model_class: ClassVar[str] = "AutoModelForMaskedLM"
    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = True

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    layout: Layout
    masking: Masking

    @property
    def mask_probability(self) -> float:
        """Share of tokens that are asked for."""
        return self.masking.probability

    def encode(self, examples: "Dataset", part: "Part") -> TextFeatures:
        """Return the pieces of all documents."""
        return encode_side_by_side(
            examples, self.tokenizer, self.max_length, part=part, whole_words=self.masking.whole_words
        )

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return rows as they are seen, with `targets` (batch, tokens): what stood there, or NOT_PREDICTED."""
        masked = [self.masking.mask_row(row, slot) for row, slot in rows]
        seen = [(replace(row, input_ids=ids), slot) for (row, slot), (ids, _) in zip(rows, masked, strict=True)]
        batch = self.layout(seen)
        del batch["labels"], batch["weights"]
        return batch | {"targets": self.layout.lay_out([targets for _, targets in masked], NOT_PREDICTED)}

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the number of masked tokens, (1,)."""
        return count_supervised(batch["targets"])[None]

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the summed cross-entropies of the masked tokens, (1,), and the model's outputs."""
        losses, _, outputs = predict_supervised(model, batch, batch.pop("targets"))
        return losses.sum()[None], outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> LanguageAnswers:
        """Return how likely the masked tokens of each document were; which are masked is the same every time."""
        share = self.mask_probability
        sums = sum_likelihoods(
            model,
            features,
            self.collate,
            batch_size,
            supervised_share=share,
            process=process,
            processes=processes,
        )
        return answer_examples(features, sums)

    def predictable_tokens(self, row: EncodedRow) -> NDArray:
        """Return the ids of a row that may be asked for."""
        return row.input_ids[~self.masking.is_special(row.input_ids)]


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> MaskedLM:
    """Return the objective of a recipe that learns from masks.

    Raises:
        SettingError: the architecture can't fill masks, the tokenizer has no mask token, or max_length doesn't fit the checkpoint.
    """
    if is_causal(config):
        raise SettingError(
            "model",
            f"found a {config.model_type}, which reads from left to right; task {task.name} needs one that reads in both directions, "
            "such as bert or roberta",
        )
    # A model that is only measured is asked as a trained one would be.
    train = recipe.train or TrainSettings()
    masking = build_masking(tokenizer, train.mask_probability, whole_words=train.whole_word_masking)
    limit = choose_piece_length(recipe.data.max_length, config, tokenizer)
    return MaskedLM(tokenizer, limit, choose_layout(recipe, tokenizer, config, limit), masking)
