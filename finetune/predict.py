"""From a model and features to logits and probabilities in row order.

Owns inference: every row once, in file order, whatever the batches and processes. Computes no score.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.errors import InvalidResultError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.batching import Layout
    from finetune.features import FeatureRows


def predict_logits(
    model: "PreTrainedModel",
    features: "FeatureRows",
    layout: "Layout",
    batch_size: int,
    *,
    process: int = 0,
    processes: int = 1,
) -> NDArray[np.float32]:
    """Return logits (rows, classes) in row order, the same on every process.

    Batches hold rows of like length, so that next to nothing is padding; each process takes every `processes`-th of them.
    """
    import torch
    from accelerate.utils import send_to_device

    from finetune.batching import Slot, order_for_evaluation
    from finetune.pooling import pooled_logits

    was_training = model.training
    model.eval()
    found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    with torch.inference_mode():
        for numbers in order_for_evaluation(features.lengths, batch_size)[process::processes]:
            batch = layout([(features[int(number)], Slot(int(number))) for number in numbers])
            for name in ("labels", "weights", "example_count", "token_count"):
                del batch[name]
            logits, _ = pooled_logits(model, send_to_device(batch, model.device))
            found.append((numbers, logits.float().cpu().numpy()))
    model.train(was_training)
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    merged = np.zeros((len(features), int(model.config.num_labels or 0)), dtype=np.float32)
    for numbers, logits in found:
        merged[numbers] = logits
    return merged


def probabilities_of(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the softmax of logits (rows, classes), in 64-bit floats.

    Raises:
        InvalidResultError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits).all(axis=1)).sum())
        raise InvalidResultError(
            f"the model's output is not finite on {bad} of {len(logits)} rows; nothing is reported"
        )
    from scipy.special import softmax

    return np.asarray(softmax(logits.astype(np.float64), axis=1))
