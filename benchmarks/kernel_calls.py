"""What calling a GPU's attention kernel costs the host, by each way of calling it; the kernels themselves are empty here.

    python -m benchmarks.kernel_calls

Owns that one question: a GPU waits for the host where batches are short, as CoLA's are. CPU time of one layer, forward and backward; no
GPU is needed, and how fast one computes is not measured. Nested tensors are made to choose the kernel that they would choose on a GPU.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nested import nested_tensor_from_jagged
from torch.nested._internal import sdpa as nested_attention
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from finetune.gpu_attention import Options, efficient_attention
from finetune.packed_attention import _attend_padded
from finetune.packing import Bounds, find_bounds

LENGTHS = [9, 12, 5, 21, 11, 8, 14, 7] * 4
HEADS, WIDTH = 2, 8
ROUNDS, CALLS = 9, 30
OPTIONS = Options(dropout_p=0.0, scale=0.3, is_causal=False, enable_gqa=False)


def register_empty_kernels() -> torch.library.Library:
    """Let memory-efficient attention and its gradient return memory as it is, on a CPU, as long as this lives."""
    library = torch.library.Library("aten", "IMPL")

    def attend(query: Tensor, *_: Any, **__: Any) -> tuple[Any, ...]:
        return torch.empty_like(query), *(query.new_empty(()) for _ in range(3)), max(LENGTHS), max(LENGTHS)

    def differentiate(_: Tensor, *parts: Any, **__: Any) -> tuple[Tensor | None, ...]:
        return *(torch.empty_like(part) for part in parts[:3]), None

    library.impl("_efficient_attention_forward", attend, "CPU")
    library.impl("_efficient_attention_backward", differentiate, "CPU")
    return library


def call_kernel(bounds: Bounds, *parts: Tensor) -> Tensor:
    """Call the kernel as `packed_attention` does."""
    query, key, value = (part[0].transpose(0, 1) for part in parts)
    return efficient_attention(query, key, value, bounds["offsets"], max(bounds["lengths"]), OPTIONS)[None]


def call_nested(bounds: Bounds, *parts: Tensor) -> Tensor:
    """Call it by nested tensors."""
    query, key, value = (
        nested_tensor_from_jagged(
            part[0].transpose(0, 1),
            bounds["offsets"].long(),
            min_seqlen=min(bounds["lengths"]),
            max_seqlen=max(bounds["lengths"]),
        ).transpose(1, 2)
        for part in parts
    )
    return scaled_dot_product_attention(query, key, value, **OPTIONS).transpose(1, 2).values()[None]


def call_padded(bounds: Bounds, *parts: Tensor) -> Tensor:
    """Lay rows into a table and attend with a mask; the small table itself is computed, on a CPU."""
    query, key, value = parts
    return _attend_padded(query, key, value, bounds, OPTIONS)


def time_way(way: Callable[..., Tensor]) -> float:
    """Return the CPU microseconds of a layer's attention, forward and backward."""
    parts = [torch.randn(1, sum(LENGTHS), HEADS, WIDTH, requires_grad=True) for _ in range(3)]
    started = time.process_time()
    for _ in range(CALLS):
        way(*(part.transpose(1, 2) for part in parts)).sum().backward()
    return (time.process_time() - started) / CALLS * 1e6


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    library = register_empty_kernels()
    chosen = nested_attention._select_sdp_backend
    nested_attention._select_sdp_backend = lambda *_: SDPBackend.EFFICIENT_ATTENTION
    bounds = find_bounds(LENGTHS)
    ways = {
        "one kernel, called by itself": partial(call_kernel, bounds),
        "the same by nested tensors": partial(call_nested, bounds),
        "a padded table": partial(call_padded, bounds),
    }
    for way in ways.values():
        time_way(way)
    rounds = [{name: time_way(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    nested_attention._select_sdp_backend = chosen
    library._destroy()
    table = Table(
        "attention", "µs of the host a layer", title=f"32 rows, forward and backward, median of {ROUNDS} rounds"
    )
    for name in ways:
        found = sorted(each[name] for each in rounds)
        table.add_row(name, f"{statistics.median(found):,.0f} ({found[0]:,.0f} to {found[-1]:,.0f})")
    Console().print(table)


if __name__ == "__main__":
    main()
