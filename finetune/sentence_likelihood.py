"""How likely a language model finds whole texts: their log likelihood, or pseudo-log-likelihood where it fills masks.

Owns what is asked for a text and how it is summed. The forward pass is `token_likelihoods`; losses over documents longer than the
context are `likelihoods`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.errors import SettingError
from finetune.features import Features, encode_features
from finetune.text_features import find_end_tokens
from finetune.token_likelihoods import Query, ask_tokens

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds one text.

    Attributes:
        log_likelihood: in nats; of a model that fills masks the pseudo-log-likelihood.
        tokens: how many tokens of the text it is the sum over.
    """

    log_likelihood: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss of a token; 1 of an empty text."""
        return math.exp(-self.log_likelihood / max(self.tokens, 1))


def is_causal(config: "PretrainedConfig") -> bool:
    """Say whether a language model of this architecture reads from left to right; if not, it fills masks.

    BERT and its kin, which transformers can also build as decoders, count as what their checkpoints are.

    Raises:
        SettingError: transformers has no language model of the architecture.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return False
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return True
    raise SettingError("model.checkpoint", f"a language model is needed, and architecture {config.model_type} has none")


def encode_sentences(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, *, causal: bool
) -> Features:
    """Return the tokens of texts as a model that is `causal` or not is asked about them, at most `max_length` each.

    Before a causal model's text stands its beginning, and no end behind: a sentence is not a document. A masked model's text stands
    between its special tokens.

    Raises:
        DataError: a causal model's tokenizer has no token for the beginning of a text.
    """
    if not causal:
        from datasets import Dataset

        return encode_features(Dataset.from_dict({"text": list(texts)}), tokenizer, max_length)
    begin, _ = find_end_tokens(tokenizer)
    whole = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    rows = [np.array([begin, *ids[: max_length - 1]], dtype=np.int32) for ids in whole]
    return Features(
        input_ids=np.concatenate(rows),
        token_type_ids=None,
        starts=np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64))),
        labels=np.zeros(len(rows), dtype=np.int64),
        truncated=sum(len(ids) >= max_length for ids in whole),
    )


def score_sentences(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    features: Features,
    batch_size: int,
    *,
    causal: bool,
    process: int = 0,
    processes: int = 1,
) -> list[Likelihood]:
    """Return how likely each text is, in order, the same on every process.

    Raises:
        InvalidResultError: an output is not finite.
    """
    queries = CausalQueries(features) if causal else MaskedQueries.build(features, tokenizer)
    found = ask_tokens(model, queries, queries.lengths, batch_size, process=process, processes=processes)
    sums = np.zeros(len(features))
    np.add.at(sums, queries.texts, [float(values.sum()) for values in found])
    counts = np.bincount(queries.texts, [len(values) for values in found], minlength=len(features))
    return [Likelihood(float(total), int(count)) for total, count in zip(sums, counts, strict=True)]


class CausalQueries:
    """Ask for every token of a text after its beginning, in one row: the log likelihood by the chain rule."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.texts = np.flatnonzero(features.lengths > 1)
        self.lengths = features.lengths[self.texts]

    def __len__(self) -> int:
        """Return the number of texts that have a token."""
        return len(self.texts)

    def __getitem__(self, number: int) -> Query:
        """Return the row of a text."""
        ids = self.features[int(self.texts[number])].input_ids
        return Query(ids, np.arange(len(ids) - 1), ids[1:, None].astype(np.int64))


@dataclass(frozen=True)
class MaskedQueries:
    """Ask for one token of a text at a time, masked: the pseudo-log-likelihood of Salazar et al. (2020), section 2.

    Attributes:
        texts, places: (queries,) whose token is masked, and where it is.
    """

    features: Features
    mask_token_id: int
    texts: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def build(cls, features: Features, tokenizer: "PreTrainedTokenizerBase") -> "MaskedQueries":
        """Return a query for each token that isn't special."""
        is_asked = ~np.isin(features.input_ids, _list_structure(tokenizer))
        texts = np.repeat(np.arange(len(features)), features.lengths)
        places = np.arange(len(features.input_ids)) - features.starts[texts]
        return cls(features, int(tokenizer.mask_token_id), texts[is_asked], places[is_asked])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each query, (queries,)."""
        return self.features.lengths[self.texts]

    def __len__(self) -> int:
        """Return the number of tokens that are asked for."""
        return len(self.texts)

    def __getitem__(self, number: int) -> Query:
        """Return a text with one token masked."""
        place = self.places[number]
        ids = self.features[int(self.texts[number])].input_ids
        masked = ids.copy()
        masked[place] = self.mask_token_id
        return Query(masked, np.array([place]), np.array([[ids[place]]], dtype=np.int64))


def _list_structure(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the special tokens that stand around a text; an unknown or masked token is part of it."""
    around = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return [token for token in around if token is not None]
