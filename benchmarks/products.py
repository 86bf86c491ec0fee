"""The matrix products of linear layers: their number, and how fast a core makes them by themselves, the limit of any training.

Owns counting and timing them; attention is not among them.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Product:
    """A linear layer as a batch meets it: (rows, inputs) times (inputs, outputs)."""

    rows: int
    inputs: int
    outputs: int

    @property
    def operations(self) -> int:
        """Floating-point operations, forward and backward: three products of 2 × rows × inputs × outputs."""
        return 6 * self.rows * self.inputs * self.outputs


def list_products(model: nn.Module, batch: dict[str, Any]) -> list[Product]:
    """Return the products of all linear layers in a forward pass, in their order; a narrow last layer has fewer rows."""
    found: list[Product] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        rows = inputs[0].numel() // layer.in_features
        found.append(Product(rows, layer.in_features, layer.out_features))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, nn.Linear)]
    with torch.inference_mode():
        model(**{name: value for name, value in batch.items() if name != "labels"})
    for hook in hooks:
        hook.remove()
    return found


def time_product(product: Product, repeats: int = 5) -> float:
    """Return the least CPU time that the three matrix products of a linear layer, forward and backward, take by themselves."""
    inputs, weight = torch.randn(product.rows, product.inputs), torch.randn(product.outputs, product.inputs)
    gradient = torch.randn(product.rows, product.outputs)
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        _ = inputs @ weight.T, gradient @ weight, gradient.T @ inputs
        taken.append(time.process_time() - started)
    return min(taken)
