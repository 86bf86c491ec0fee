"""The vocabulary head on supervised positions alone: a language model's widest product, and most of its rows answer nothing.

Owns that narrowing and the cross-entropies behind it, for every architecture, by a hook on the layer that maps hidden states to the
vocabulary. Which positions are supervised is said by the targets of a batch, set in `masking` and `packing`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from finetune.masking import NOT_PREDICTED


@contextmanager
def supervised_only(model: nn.Module, positions: Tensor) -> Generator[None]:
    """Let the vocabulary head of `model` see the hidden states at `positions` alone, a mask (batch, tokens).

    The logits of a forward pass within are (supervised, vocabulary), in the order of rows and tokens. `model` may be wrapped for several
    processes: call what was passed.
    """

    def keep_supervised(head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, *others = inputs
        return (hidden[positions], *others)

    hook = cast(nn.Module, _unwrap(model).get_output_embeddings()).register_forward_pre_hook(keep_supervised)
    try:
        yield
    finally:
        hook.remove()


def predict_supervised(
    model: nn.Module, batch: dict[str, Any], targets: Tensor, **options: bool
) -> tuple[Tensor, Tensor, Any]:
    """Return cross-entropies in 32-bit floats, whether the likeliest token was right, both (supervised,), and the outputs.

    `targets` (batch, tokens) is the token to predict from each position, or NOT_PREDICTED. Where no position is supervised the
    results are empty, and their sum is a 0 that can be differentiated.
    """
    with supervised_only(model, targets != NOT_PREDICTED):
        outputs = model(**batch, **options)
    return *compare_tokens(outputs.logits, targets), outputs


def compare_through_embeddings(model: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropies (supervised,) of a model without a vocabulary head, from its hidden states (batch, tokens, width).

    The embeddings of the tokens serve as the head, as they do in GPT-2 (tied weights).
    """
    embeddings = cast(Tensor, _unwrap(model).get_input_embeddings().weight)
    return compare_tokens(hidden[targets != NOT_PREDICTED] @ embeddings.T, targets)[0]


def _unwrap(model: nn.Module) -> PreTrainedModel:
    return cast(PreTrainedModel, extract_model_from_parallel(model, keep_torch_compile=False))


def compare_tokens(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return cross-entropies in 32-bit floats and whether the likeliest token was right, both (supervised,).

    Takes logits (supervised, vocabulary) and all targets (batch, tokens).
    """
    expected = targets[targets != NOT_PREDICTED]
    losses = functional.cross_entropy(logits.float(), expected, reduction="none")
    return losses, logits.detach().argmax(dim=-1) == expected


def count_supervised(targets: Tensor) -> Tensor:
    """Return how many positions of a batch are supervised, as a floating-point number without dimensions."""
    return (targets != NOT_PREDICTED).sum().to(torch.get_default_dtype())
