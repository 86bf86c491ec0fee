"""BERT's pretraining (Devlin et al. 2019, section 3.1): masked tokens and the next sentence, learnt together.

Owns the two terms of the loss and how both are measured in one pass. Masks are those of `masked_lm`; the pairs of spans are made in
`finetune/next_sentence.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finetune.answers import LanguageAnswers, build_answers, build_language_answers
from finetune.batching import Layout, Slot, order_for_evaluation
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows
from finetune.likelihoods import choose_tokens_a_pass, measure_rows, rows_of_targets, sum_by_row
from finetune.loss import row_losses
from finetune.masking import NOT_PREDICTED
from finetune.objectives import masked_lm
from finetune.objectives.masked_lm import MaskedLM
from finetune.objectives.next_sentence import has_next_sentence_head
from finetune.pair_features import PairFeatures, encode_pairs
from finetune.predict import probabilities_of
from finetune.supervised_head import compare_tokens, supervised_only

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class Pretraining:
    """Learn what stands behind the masks of each pair of spans, and whether the second follows the first."""

    model_class: ClassVar[str] = "AutoModelForPreTraining"
    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = True

    language: MaskedLM

    @property
    def layout(self) -> Layout:
        """How pairs become tensors, padded or packed."""
        return self.language.layout

    @property
    def max_length(self) -> int:
        """Most tokens of a pair."""
        return self.language.max_length

    @property
    def mask_probability(self) -> float:
        """Share of tokens that are asked for."""
        return self.language.mask_probability

    def encode(self, examples: "Dataset", part: "Part") -> PairFeatures:
        """Return the features of all pairs."""
        language = self.language
        return encode_pairs(examples, language.tokenizer, language.max_length, whole_words=language.masking.whole_words)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return masked pairs with `targets` (batch, tokens), `labels` and `weights` (batch,); a filler weighs nothing."""
        return self.language.collate(rows) | {
            "labels": torch.tensor([int(row.label) for row, _ in rows]),
            "weights": torch.tensor([0.0 if slot.is_filler else 1.0 for _, slot in rows]),
        }

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the number of masked tokens and that of pairs, (2,)."""
        return torch.cat([self.language.sum_weights(batch), batch["weights"].sum()[None]])

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the summed cross-entropies of masked tokens and of pairs, (2,), and the model's outputs."""
        targets, labels, weights = (batch.pop(name) for name in ("targets", "labels", "weights"))
        outputs = _ask(model, batch, targets)
        tokens, _ = compare_tokens(outputs.prediction_logits, targets)
        pairs = row_losses(outputs.seq_relationship_logits, labels) * weights
        return torch.stack([tokens.sum(), pairs.sum()]), outputs

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> LanguageAnswers:
        """Return how likely the masked tokens of each pair were, and whether its second span follows, from the same masked input."""

        def measure(batch: dict[str, Any]) -> NDArray[np.float64]:
            targets = batch.pop("targets")
            del batch["labels"], batch["weights"]
            outputs = _ask(model, batch, targets)
            rows = rows_of_targets(targets, batch.get("packed_bounds"))
            sums = sum_by_row(*compare_tokens(outputs.prediction_logits, targets), rows)
            return np.concatenate([sums, outputs.seq_relationship_logits.double().cpu().numpy().T])

        share = self.mask_probability
        batches = order_for_evaluation(features.lengths, batch_size, choose_tokens_a_pass(model, share))
        found = measure_rows(model, features, self.collate, batches, measure, process=process, processes=processes)
        follows = build_answers(features.labels, probabilities_of(found[3:].T))
        return build_language_answers(*found[:3], text_bytes=np.zeros(len(features)), next_sentence=follows)

    def predictable_tokens(self, row: EncodedRow) -> NDArray:
        """Return the ids of a row that may be asked for."""
        return self.language.predictable_tokens(row)


def _ask(model: nn.Module, batch: dict[str, Any], targets: Tensor) -> Any:
    """Return the outputs of both heads, that of the vocabulary at supervised positions alone."""
    with supervised_only(model, targets != NOT_PREDICTED):
        return model(**batch)


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Pretraining:
    """Return the objective of a recipe that pretrains as BERT was.

    Raises:
        SettingError: the architecture lacks one of the two heads, the tokenizer a mask token, or max_length doesn't fit.
    """
    if not has_next_sentence_head(config):
        raise SettingError(
            "model",
            f"found a {config.model_type}, which has no head for the next sentence; task {task.name} needs BERT's two heads "
            "(masked-lm learns from masks alone)",
        )
    return Pretraining(masked_lm.build(recipe, task, data, tokenizer, config))
