"""Attention within packed rows by one kernel call on NVIDIA's GPUs, whatever the lengths, with dropout.

Owns which of torch's kernels serves, and how it is called: those that torch's nested tensors and `varlen_attn` call, with neither round
them. Nested tensors take milliseconds of the host a layer, and `varlen_attn` has no dropout (docs/log.md). A kernel serves once it has
been seen to keep rows apart on that very GPU.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Options(TypedDict):
    """How attention is computed, as torch's own function takes it."""

    dropout_p: float
    scale: float | None
    is_causal: bool
    enable_gqa: bool


Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, int, Options], Tensor]
"""From queries, keys, values (tokens, heads, width), where rows begin and the last ends (rows + 1), and the longest's length."""


def flash_attention(
    query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options
) -> Tensor:
    """Return attention within rows (tokens, heads, width), in half precision (Dao 2023, FlashAttention-2)."""
    attended, *_ = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        options["dropout_p"],
        options["is_causal"],
        return_debug_mask=False,
        scale=options["scale"],
    )
    return attended


def efficient_attention(
    query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options
) -> Tensor:
    """Return the same in any precision (Rabe & Staats 2021, of memory that grows with the length alone)."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    attended, *_ = torch.ops.aten._efficient_attention_forward(
        query[None],
        key[None],
        value[None],
        None,
        offsets,
        offsets,
        longest,
        longest,
        options["dropout_p"],
        int(options["is_causal"]),
        compute_log_sumexp=any(tensor.requires_grad for tensor in (query, key, value)),
        scale=options["scale"],
    )
    return attended[0]


@lru_cache
def find_kernel(device: torch.device, precision: torch.dtype, width: int) -> Kernel | None:
    """Return the kernel that serves heads of a width on a device, or None where none is known to."""
    if device.type != "cuda" or torch.version.cuda is None:
        return None
    # Flash attention wants tensor cores of Ampere or later; wider heads it has no backward pass for on every GPU.
    is_flash = precision != torch.float32 and torch.cuda.get_device_capability(device)[0] >= 8 and width <= 128
    kernel = flash_attention if is_flash else efficient_attention
    return kernel if keeps_rows_apart(kernel, device, precision, width) else None


def keeps_rows_apart(kernel: Kernel, device: torch.device, precision: torch.dtype, width: int) -> bool:
    """Say whether a kernel gives what rows by themselves get, to 0.02; one that refuses does not.

    Draws no random numbers, so that a run's dropout is the same whether or not this was asked.
    """
    lengths = [3, 70, 5]
    values = torch.arange(3 * sum(lengths) * width, device=device, dtype=torch.float64).sin().to(precision)
    query, key, value = values.view(3, sum(lengths), 1, width)
    offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    for is_causal in (False, True):
        options = Options(dropout_p=0.0, scale=None, is_causal=is_causal, enable_gqa=False)
        try:
            found = kernel(query, key, value, offsets, max(lengths), options)
        except RuntimeError:
            return False
        rows = zip(*(tensor.transpose(0, 1).split(lengths, dim=1) for tensor in (query, key, value)), strict=True)
        alone = [scaled_dot_product_attention(*row, is_causal=is_causal).transpose(0, 1) for row in rows]
        if not torch.allclose(found, torch.cat(alone), atol=0.02):
            return False
    return True
