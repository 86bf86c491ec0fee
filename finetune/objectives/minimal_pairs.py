"""Minimal pairs: which of two sentences is acceptable, by which a language model that isn't fine-tuned finds likelier.

Owns the way from two likelihoods to probabilities. The likelihoods are those of `sentence_likelihood`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, build_answers
from finetune.errors import SettingError
from finetune.features import EncodedRow, FeatureRows, Features, choose_max_length, labels_of
from finetune.predict import probabilities_of
from finetune.sentence_likelihood import encode_sentences, is_causal, score_sentences

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class SentencePairs:
    """The two sentences of each row, encoded apart.

    Attributes:
        sentences: the first sentences of all rows, then the second ones.
        labels: (rows,) which of the two is acceptable.
    """

    sentences: Features
    labels: NDArray[Any]

    @property
    def truncated(self) -> int:
        """How many sentences were cut."""
        return self.sentences.truncated

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of both sentences of each row, (rows,)."""
        return self.sentences.lengths.reshape(2, -1).sum(axis=0)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.labels)

    def __getitem__(self, number: int) -> EncodedRow:
        """Return the tokens of both sentences, one behind the other."""
        both = [self.sentences[number].input_ids, self.sentences[number + len(self)].input_ids]
        return EncodedRow(np.concatenate(both), None, self.labels[number])


@dataclass(frozen=True)
class MinimalPairs:
    """Ask which sentence of a pair is likelier.

    Attributes:
        causal: whether the model reads from left to right, or fills masks.
    """

    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    causal: bool

    @property
    def model_class(self) -> str:
        """A causal model, or one that fills masks."""
        return "AutoModelForCausalLM" if self.causal else "AutoModelForMaskedLM"

    def encode(self, examples: "Dataset", part: "Part") -> SentencePairs:
        """Return the features of all examples."""
        texts = [*examples["text"], *examples["text_pair"]]
        sentences = encode_sentences(texts, self.tokenizer, self.max_length, causal=self.causal)
        return SentencePairs(sentences, labels_of(examples))

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> Answers:
        """Return the likelier sentence of every row; its probability if one of the two has to be said."""
        assert isinstance(features, SentencePairs)
        found = score_sentences(
            model,
            self.tokenizer,
            features.sentences,
            batch_size,
            causal=self.causal,
            process=process,
            processes=processes,
        )
        scores = np.array([likelihood.log_likelihood for likelihood in found]).reshape(2, -1).T
        return build_answers(features.labels, probabilities_of(scores))


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> MinimalPairs:
    """Return the objective of a recipe that asks a language model as it is.

    Raises:
        SettingError: the recipe trains, or the architecture has no language model.
        DataError: the tokenizer lacks a token that is needed.
    """
    if recipe.train is not None:
        raise SettingError("train", "minimal pairs are asked of a language model as it is: state train: null")
    causal = is_causal(config)
    if not causal and tokenizer.mask_token_id is None:
        raise SettingError(
            "model.checkpoint", "its tokenizer has no mask token, so no token of a sentence can be asked for"
        )
    return MinimalPairs(tokenizer, choose_max_length(recipe.data.max_length, config, tokenizer), causal)
