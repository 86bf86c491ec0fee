"""Fill the masks of a text: the likeliest tokens in each place, by a masked language model.

Owns the words for a mask that users may write, and what is read at it. How likely whole texts are is `sentence_likelihood`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.errors import DataError
from finetune.token_likelihoods import token_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MASKS = ("<mask>", "[MASK]")
"""How a mask may be written, whatever the tokenizer calls its own."""


@dataclass(frozen=True)
class Filling:
    """A token that may stand in the place of a mask.

    Attributes:
        token: its text, with the space before it where the tokenizer counts that in; `##` before a piece of a word.
    """

    token: str
    probability: float


def split_at_masks(text: str) -> list[str]:
    """Return what stands before, between and behind the masks of a text."""
    return re.split("|".join(map(re.escape, MASKS)), text)


def fill_masks(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_length: int, top_k: int
) -> list[list[list[Filling]]]:
    """Return the `top_k` likeliest tokens for each mask of each text, the likeliest first, each mask by itself.

    Raises:
        DataError: a text has no mask, or is longer than `max_length` tokens.
    """
    return [_fill_text(model, tokenizer, text, max_length, top_k) for text in texts]


def _fill_text(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", text: str, max_length: int, top_k: int
) -> list[list[Filling]]:
    import torch

    from finetune.supervised_head import supervised_only

    pieces = split_at_masks(text)
    if len(pieces) < 2:
        raise DataError(f"no place to fill: write {' or '.join(MASKS)} into {text[:60]!r}")
    encoded = tokenizer(str(tokenizer.mask_token).join(pieces), return_tensors="pt", verbose=False)
    if (length := encoded["input_ids"].shape[1]) > max_length:
        raise DataError(
            f"a text of {length} tokens is longer than the {max_length} that the model takes: {text[:60]!r}"
        )
    inputs = {name: tensor.to(model.device) for name, tensor in encoded.items()}
    is_masked = inputs["input_ids"] == tokenizer.mask_token_id
    model.eval()
    with torch.inference_mode(), supervised_only(model, is_masked):
        logits = token_logits(model(**inputs)).double()
    found = logits.softmax(dim=-1).topk(min(top_k, logits.shape[-1]))
    return [
        [
            Filling(str(tokenizer.decode([token], clean_up_tokenization_spaces=False)), float(probability))
            for token, probability in zip(tokens, probabilities, strict=True)
        ]
        for tokens, probabilities in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]
