"""Attention that keeps the rows of a packed batch apart, as an attention function of transformers.

Owns how it is computed: on a CPU rows of one length together, on NVIDIA's GPUs all in one kernel call (`gpu_attention`), on others short
rows in a table padded within attention alone. The linear layers before and after see no padding. Without bounds it is the library's own
SDPA, so a model that has it serves padded batches too.
"""

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from finetune.gpu_attention import Options, find_kernel

if TYPE_CHECKING:
    from finetune.packing import Bounds

ATTENTION: Final = "finetune_packed"
LONGEST_PADDED: Final = 64
"""Without a kernel for all, rows of more tokens on average are attended to by length: a table would cost more than the calls."""


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
    options = Options(
        dropout_p=dropout,
        scale=scaling,
        is_causal=bool(getattr(module, "is_causal", True) if is_causal is None else is_causal),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    lengths, device = packed_bounds["lengths"], query.device
    # On a CPU a call costs little and a padded cell as much as a token, whatever the lengths.
    if device.type == "cpu":
        return _attend_by_length(query, key, value, lengths, options), None
    # Torch's own function would lower the precision by itself; a kernel takes what it is given.
    precision = _find_precision(query)
    query, key, value = (tensor.to(precision) for tensor in (query, key, value))
    kernel = find_kernel(device, precision, query.shape[-1])
    if kernel is not None:
        parts = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        return kernel(*parts, packed_bounds["offsets"], max(lengths), options)[None], None
    if sum(lengths) > LONGEST_PADDED * len(lengths):
        return _attend_by_length(query, key, value, lengths, options), None
    return _attend_padded(query, key, value, packed_bounds, options), None


def _find_precision(tensor: Tensor) -> torch.dtype:
    """Return the precision that attention of a tensor is computed in, which mixed precision lowers."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def _attend_by_length(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], options: Options) -> Tensor:
    """Attend within rows, those of one length that lie side by side together: they are a table already."""
    runs = [(length, len(list(rows))) for length, rows in groupby(lengths)]
    sizes = [length * rows for length, rows in runs]
    attended = []
    for (length, rows), parts in zip(
        runs, zip(*(tensor[0].split(sizes, dim=1) for tensor in (query, key, value)), strict=True), strict=True
    ):
        queries, keys, values = (part.unflatten(1, (rows, length)).transpose(0, 1) for part in parts)
        attended.append(scaled_dot_product_attention(queries, keys, values, **options).transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)[None]


def _attend_padded(query: Tensor, key: Tensor, value: Tensor, bounds: "Bounds", options: Options) -> Tensor:
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
