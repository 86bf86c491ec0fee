"""Attention on a GPU: a kernel is called as it wants to be, serves where it keeps rows apart, and learns what padding does."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from accelerate.utils import send_to_device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from finetune.gpu_attention import (
    Kernel,
    Options,
    efficient_attention,
    find_kernel,
    flash_attention,
    keeps_rows_apart,
)
from finetune.packed_attention import _attend_by_length, _find_precision
from finetune.packing import DECODERS, ENCODERS, find_bounds
from finetune.pooling import pooled_logits
from tests.language_models import build_language_model, gradients_of
from tests.test_packing import KINDS_OF_LENGTHS, lay_both, rows_of

KERNELS = (flash_attention, efficient_attention)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of NVIDIA's here")


def attend_rows(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, *, is_causal: bool, scale: float) -> Tensor:
    """Return attention within rows, (tokens, heads, width), one row after the other."""
    assert offsets.dtype == torch.int32
    lengths = offsets.diff().tolist()
    rows = zip(*(tensor.transpose(0, 1).split(lengths, dim=1) for tensor in (query, key, value)), strict=True)
    options: dict[str, Any] = {"is_causal": is_causal, "scale": scale, "enable_gqa": query.shape[1] != key.shape[1]}
    return torch.cat([scaled_dot_product_attention(*row, **options).transpose(0, 1) for row in rows])


def differentiate(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, *, is_causal: bool, scale: float
) -> tuple[Tensor, ...]:
    """Return the gradients of queries, keys and values, (tokens, heads, width), by softmax's own formula."""
    groups = query.shape[1] // key.shape[1]
    parts = (gradient, query, *(tensor.repeat_interleave(groups, dim=1) for tensor in (key, value)))
    found = []
    for rows in zip(*(part.transpose(0, 1).split(offsets.diff().tolist(), dim=1) for part in parts), strict=True):
        back, queries, keys, values = rows
        scores = queries @ keys.mT * scale
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1) if is_causal else torch.zeros_like(scores).bool()
        shares = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        change = back @ values.mT
        change = shares * (change - (change * shares).sum(-1, keepdim=True)) * scale
        found.append((change @ keys, change.mT @ queries, shares.mT @ back))
    of_query, *others = (torch.cat(rows, dim=1).transpose(0, 1) for rows in zip(*found, strict=True))
    return of_query, *(other.unflatten(1, (-1, groups)).sum(2) for other in others)


def flash_forward(
    query: Tensor, key: Tensor, value: Tensor, rows: Tensor, _: Tensor, longest: int, __: int, dropout: float,
    is_causal: bool, return_debug_mask: bool, *, scale: float, **unset: None,
) -> tuple[Tensor, ...]:  # fmt: skip
    assert longest == int(rows.diff().max()) and not return_debug_mask and dropout == 0
    attended = attend_rows(query, key, value, rows, is_causal=is_causal, scale=scale)
    return attended, *(torch.zeros(()) for _ in range(4))


def flash_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, sums: Tensor, rows: Tensor, _: Tensor,
    longest: int, __: int, dropout: float, is_causal: bool, state: Tensor, unused: Tensor, *, scale: float, **unset: None,
) -> tuple[Tensor, ...]:  # fmt: skip
    return differentiate(gradient, query, key, value, rows, is_causal=is_causal, scale=scale)


def efficient_forward(
    query: Tensor, key: Tensor, value: Tensor, bias: None, rows: Tensor, _: Tensor, longest: int, __: int, dropout: float,
    mask: int, compute_log_sumexp: bool = False, *, scale: float, **unset: None,
) -> tuple[Any, ...]:  # fmt: skip
    assert longest == int(rows.diff().max()) and bias is None and dropout == 0
    assert query.shape == key.shape == value.shape and compute_log_sumexp
    attended = attend_rows(query[0], key[0], value[0], rows, is_causal=mask == 1, scale=scale)
    return attended[None], *(torch.zeros(()) for _ in range(3)), longest, longest


def efficient_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: None, out: Tensor, rows: Tensor, _: Tensor,
    longest: int, __: int, sums: Tensor, dropout: float, seed: Tensor, offset: Tensor, mask: int, needs_bias: bool,
    *, scale: float, **unset: None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    parts = (part[0] for part in (query, key, value))
    gradients = differentiate(gradient[0], *parts, rows, is_causal=mask == 1, scale=scale)
    return *(found[None] for found in gradients), None


@pytest.fixture
def kernels_on_a_cpu() -> Iterator[None]:
    """Give a CPU the kernels of a GPU, which torch differentiates by its own formulas, each row computed by itself."""
    library = torch.library.Library("aten", "IMPL")
    for name, function in {
        "_flash_attention_forward": flash_forward,
        "_flash_attention_backward": flash_backward,
        "_efficient_attention_forward": efficient_forward,
        "_efficient_attention_backward": efficient_backward,
    }.items():
        library.impl(name, function, "CPU")
    yield
    library._destroy()


@pytest.mark.usefixtures("kernels_on_a_cpu")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@given(lengths=st.lists(st.integers(1, 24), min_size=1, max_size=12))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kernels_are_told_where_rows_lie(kernel: Kernel, is_causal: bool, groups: int, lengths: list[int]) -> None:
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(lengths), 8, requires_grad=True) for heads in (4, 4 // groups, 4 // groups)
    )
    options = Options(dropout_p=0.0, scale=0.3, is_causal=is_causal, enable_gqa=groups > 1)
    expected = _attend_by_length(query, key, value, tuple(lengths), options)
    parts = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    found = kernel(*parts, find_bounds(lengths)["offsets"], max(lengths), options)[None]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    by_kernel, by_length = (
        torch.autograd.grad(output.square().sum(), [query, key, value]) for output in (found, expected)
    )
    torch.testing.assert_close(by_kernel, by_length, atol=1e-5, rtol=1e-4)


def by_themselves(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options) -> Tensor:
    return attend_rows(query, key, value, offsets, is_causal=options["is_causal"], scale=query.shape[-1] ** -0.5)


def as_one_row(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options) -> Tensor:
    return by_themselves(query, key, value, offsets[[0, -1]], longest, options)


def never_causal(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options) -> Tensor:
    return by_themselves(query, key, value, offsets, longest, {**options, "is_causal": False})


def refuse(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, options: Options) -> Tensor:
    raise RuntimeError("this kernel was not built for this GPU")


@pytest.mark.parametrize(("kernel", "serves"), [
    (by_themselves, True), (as_one_row, False), (never_causal, False), (refuse, False),
])  # fmt: skip
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [4, 64, 128])
def test_a_kernel_serves_only_where_it_is_seen_to_keep_rows_apart(
    kernel: Kernel, serves: bool, precision: torch.dtype, width: int
) -> None:
    before = torch.get_rng_state()
    assert keeps_rows_apart(kernel, torch.device("cpu"), precision, width) is serves
    assert torch.equal(torch.get_rng_state(), before)


def test_a_kernel_that_torch_has_not_here_does_not_serve() -> None:
    # Without the fixture a CPU has neither.
    assert not any(keeps_rows_apart(kernel, torch.device("cpu"), torch.float32, 8) for kernel in KERNELS)
    assert find_kernel(torch.device("cpu"), torch.float32, 8) is None


def test_mixed_precision_lowers_that_of_attention() -> None:
    tensor = torch.zeros(1)
    assert _find_precision(tensor) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert _find_precision(tensor) == torch.bfloat16


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_this_gpu_has_a_kernel(precision: torch.dtype) -> None:
    assert all(find_kernel(torch.device("cuda", 0), precision, width) for width in (8, 64, 128))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_packed_models_say_and_learn_on_a_gpu_what_padded_ones_do(architecture: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = deepcopy(build_language_model(architecture, "classification")).cuda()
    for lengths in KINDS_OF_LENGTHS:
        batches = lay_both(architecture, rows_of(lengths), is_narrow=True)
        expected, found = (pooled_logits(model, send_to_device(batch, "cuda"))[0] for batch in batches)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        wanted, had = (gradients_of(model, logits.square().sum()) for logits in (expected, found))
        for name, gradient in wanted.items():
            torch.testing.assert_close(had[name], gradient, atol=1e-4, rtol=1e-3, msg=name)
