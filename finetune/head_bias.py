"""The bias of a new head, set before training to what is known of the labels.

Owns finding it. What it is set to is said by the objectives: an optimiser moves a bias by at most the learning rate a step, so that a small
run would spend its weights, and its steps, on saying what every row has in common.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def set_head_bias(model: "PreTrainedModel", values: NDArray[np.float64]) -> None:
    """Set the bias of a classification head to values (outputs,); a head without one, such as GPT-2's, stays as it was drawn."""
    import torch

    # A head stands last in a model, and a bias last in a head.
    *_, (name, last) = model.named_parameters()
    if name.endswith(".bias"):
        with torch.no_grad():
            last.copy_(torch.from_numpy(values))
