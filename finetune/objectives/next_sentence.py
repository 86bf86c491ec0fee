"""Next-sentence prediction (Devlin et al. 2019): whether the second sentence of a pair follows the first.

Owns which head is asked, and pairs whose sentences are encoded once. All else is classification; the pairs are made in
`finetune/next_sentence.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES

from finetune.answers import Answers
from finetune.batching import Layout, Slot
from finetune.features import EncodedRow, FeatureRows
from finetune.objectives import classification
from finetune.objectives.classification import Classification
from finetune.pair_features import PairFeatures, encode_pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class NextSentence:
    """Learn whether each pair is of neighbours.

    Attributes:
        classifier: what is done with two labels, whichever head gives their logits.
        model_class: the head of BERT's pretraining where the architecture has one, else one for classification.
        problem_type: of the latter.
        measures_start: whether the checkpoint brings such a head with it, so that there is something to ask before training.
    """

    classifier: Classification
    model_class: str
    problem_type: str | None
    measures_start: bool

    @property
    def layout(self) -> Layout:
        """How pairs become tensors, padded or packed."""
        return self.classifier.layout

    def encode(self, examples: "Dataset", part: "Part") -> PairFeatures:
        """Return the features of all pairs."""
        return encode_pairs(examples, self.classifier.tokenizer, self.classifier.max_length)

    def collate(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return pairs with `labels` and `weights` (batch,)."""
        return self.classifier.collate(rows)

    def sum_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return the summed weight of the pairs, (1,)."""
        return self.classifier.sum_weights(batch)

    def sum_losses(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        """Return the weighted sum of the pairs' cross-entropies, (1,), and the model's outputs."""
        return self.classifier.sum_losses(model, batch)

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> Answers:
        """Return the label and probabilities of every pair."""
        return self.classifier.answer(model, features, batch_size, process=process, processes=processes)


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> NextSentence:
    """Return the objective of a recipe that tells neighbours from strangers.

    Raises:
        SettingError: max_length or class weights don't fit the checkpoint or the labels.
    """
    classifier = classification.build(recipe, task, data, tokenizer, config)
    if not has_next_sentence_head(config):
        return NextSentence(classifier, Classification.model_class, Classification.problem_type, measures_start=False)
    # A checkpoint of another class may hold the head too, but its configuration doesn't tell.
    brings_head = any(
        name.endswith(("ForPreTraining", "ForNextSentencePrediction")) for name in config.architectures or ()
    )
    return NextSentence(
        classifier,
        "AutoModelForNextSentencePrediction",
        None,
        measures_start=brings_head and recipe.model.init == "pretrained",
    )


def has_next_sentence_head(config: "PretrainedConfig") -> bool:
    """Say whether transformers has the heads of BERT's pretraining for an architecture."""
    return config.model_type in MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES
