"""The loss of a run, one value a row, so that it can be summed once however a batch is cut.

Owns the arithmetic. transformers 5.23 multiplies the loss of BERT's and GPT-2's classification heads by accumulation steps and by
processes (huggingface/transformers#47688); here the rows' losses are weighted, summed, and divided by the summed weights of the
whole batch: the weighted mean of torch.nn.CrossEntropyLoss, over processes and accumulation steps together. (With class weights and
label smoothing at once torch also weights the smoothed share by its own class; here a row has one weight, that of its label.)
"""

import torch
from torch import Tensor
from torch.nn import functional


def row_losses(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each row in 32-bit floats, (batch,), from logits (batch, classes) and labels (batch,)."""
    return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=label_smoothing)


def divide_losses(sums: Tensor, totals: Tensor) -> Tensor:
    """Return this share's part of the loss: weighted sums over the weights of the whole batch, both (terms,), added up.

    A term that counts nothing in the whole batch, such as masked tokens of very short rows, is 0.
    """
    return (sums / totals.clamp(min=torch.finfo(sums.dtype).tiny)).sum()


def balanced_class_weights(label_counts: list[int]) -> tuple[float, ...]:
    """Return weights inverse to class frequency, `rows / (classes × count)` as in scikit-learn's "balanced"."""
    rows, classes = sum(label_counts), len(label_counts)
    return tuple(rows / (classes * count) if count else 0.0 for count in label_counts)
