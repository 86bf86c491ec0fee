"""Attention that keeps the rows of a packed batch apart, as an attention function of transformers.

Owns how it is computed: rows of one length together, or on a GPU short rows in a table padded within attention alone. The linear layers
before and after see no padding. Without bounds it is the library's own SDPA, so a model that has it serves padded batches too.
"""

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from finetune.packing import Bounds

ATTENTION: Final = "finetune_packed"
LONGEST_PADDED: Final = 64
"""On a GPU, rows of more tokens on average are attended to by length: a table padded to the longest would cost more than the calls."""


def attend_within_rows(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    packed_bounds: "Bounds | None" = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention output (1, tokens, heads, width) of queries, keys and values (1, heads, tokens, width).

    No token sees one of another row.
    """
    if packed_bounds is None:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **kwargs,
        )
    options = {
        "dropout_p": dropout,
        "scale": scaling,
        "is_causal": bool(getattr(module, "is_causal", True) if is_causal is None else is_causal),
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    lengths = packed_bounds["lengths"]
    # On a CPU a call costs little and a padded cell as much as a token, whatever the lengths.
    if query.device.type == "cpu" or sum(lengths) > LONGEST_PADDED * len(lengths):
        return _attend_by_length(query, key, value, lengths, options), None
    return _attend_padded(query, key, value, packed_bounds, options), None


def _attend_by_length(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], options: dict[str, Any]
) -> Tensor:
    """Attend within rows, those of one length that lie side by side together: they are a table already."""
    runs = [(length, len(list(rows))) for length, rows in groupby(lengths)]
    sizes = [length * rows for length, rows in runs]
    attended = []
    for (length, rows), parts in zip(
        runs, zip(*(tensor[0].split(sizes, dim=1) for tensor in (query, key, value)), strict=True), strict=True
    ):
        tables = (part.unflatten(1, (rows, length)).transpose(0, 1) for part in parts)
        attended.append(scaled_dot_product_attention(*tables, **options).transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)[None]


def _attend_padded(query: Tensor, key: Tensor, value: Tensor, bounds: "Bounds", options: dict[str, Any]) -> Tensor:
    """Attend within rows laid into a table, (rows, longest), whose other cells are hidden."""
    count, cells = len(bounds["lengths"]), bounds["cells"]
    longest = max(bounds["lengths"])

    def pad(tensor: Tensor) -> Tensor:
        _, heads, _, width = tensor.shape
        table = tensor.new_zeros(count * longest, heads, width).index_copy(0, cells, tensor[0].transpose(0, 1))
        return table.view(count, longest, heads, width).transpose(1, 2)

    # Padding comes after the tokens of a row, so that a causal model never sees it.
    mask = None if options["is_causal"] else bounds["is_token"]
    attended = scaled_dot_product_attention(pad(query), pad(key), pad(value), attn_mask=mask, **options)
    return attended.transpose(1, 2).flatten(0, 1)[cells][None]


AttentionInterface.register(ATTENTION, attend_within_rows)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
