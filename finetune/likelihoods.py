"""Held-out likelihoods: how likely a language model finds the tokens of each row, summed row by row.

Owns that measurement: every row once, sums in 64-bit floats, the same for any batch size and number of processes, and never more
logits at a time than fit beside the model. Which tokens are predicted is said by the targets of a batch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from accelerate.utils import send_to_device
from numpy.typing import NDArray

from finetune.answers import LanguageAnswers, build_language_answers
from finetune.batching import EVALUATION_TOKENS, Slot, order_for_evaluation
from finetune.features import EncodedRow, FeatureRows
from finetune.masking import NOT_PREDICTED
from finetune.supervised_head import predict_supervised
from finetune.text_features import TextFeatures

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.packing import Bounds

Collate = Callable[[Sequence[tuple[EncodedRow, Slot]]], dict[str, Any]]

LOGITS_A_PASS: Final = 2**25
"""Logits of one forward pass of a measurement: 128 MB in 32-bit floats, and as much again for their softmax."""


class RowSums(NamedTuple):
    """What a model said of each row, all (rows,): summed losses in nats, tokens predicted, how many of them rightly."""

    losses: NDArray[np.float64]
    tokens: NDArray[np.float64]
    right: NDArray[np.float64]


def sum_likelihoods(
    model: "PreTrainedModel",
    features: FeatureRows,
    collate: Collate,
    batch_size: int,
    *,
    supervised_share: float = 1.0,
    process: int = 0,
    processes: int = 1,
    **options: bool,
) -> RowSums:
    """Return the sums of every row in row order, the same on every process.

    `collate` makes of rows a batch with `targets` (batch, tokens), of which about `supervised_share` are predicted; `options` are
    passed to the model.
    """
    batches = order_for_evaluation(features.lengths, batch_size, choose_tokens_a_pass(model, supervised_share))

    def sum_batch(batch: dict[str, Any]) -> NDArray[np.float64]:
        targets = batch.pop("targets")
        losses, is_right, _ = predict_supervised(model, batch, targets, **options)
        return sum_by_row(losses, is_right, rows_of_targets(targets, batch.get("packed_bounds")))

    return RowSums(*measure_rows(model, features, collate, batches, sum_batch, process=process, processes=processes))


def measure_rows(
    model: "PreTrainedModel",
    features: FeatureRows,
    collate: Collate,
    batches: Sequence[NDArray[np.int64]],
    measure: Callable[[dict[str, Any]], NDArray[np.float64]],
    *,
    process: int = 0,
    processes: int = 1,
) -> NDArray[np.float64]:
    """Return what `measure` finds of the rows of each batch (columns, batch), of all rows (columns, rows), on every process.

    Each process measures every `processes`-th of `batches`, which are row numbers and together every row once.
    """
    was_training = model.training
    model.eval()
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    with torch.inference_mode():
        for numbers in batches[process::processes]:
            # A slot of seed 0 and epoch 0: what is masked of a row is the same in every measurement.
            batch = collate([(features[int(number)], Slot(int(number))) for number in numbers])
            asked = {name: values for name, values in batch.items() if not name.endswith("_count")}
            found.append((numbers, measure(send_to_device(asked, model.device))))
    model.train(was_training)
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    merged = np.zeros((len(found[0][1]), len(features)))
    for numbers, columns in found:
        merged[:, numbers] = columns
    return merged


def choose_tokens_a_pass(model: "PreTrainedModel", supervised_share: float) -> int:
    """Return how many tokens may go through a model together so that their logits keep to LOGITS_A_PASS."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    return min(EVALUATION_TOKENS, int(LOGITS_A_PASS / vocabulary / supervised_share))


class TargetRows(NamedTuple):
    """Which row of a batch each supervised token belongs to, (supervised,), and how many rows there are."""

    numbers: NDArray[np.int64]
    count: int


def rows_of_targets(targets: torch.Tensor, bounds: "Bounds | None") -> TargetRows:
    """Return the rows of the tokens that are supervised by targets (batch, tokens); `bounds` are those of a packed batch."""
    rows, tokens = (targets != NOT_PREDICTED).nonzero().cpu().numpy().T
    if bounds is None:
        return TargetRows(rows, len(targets))
    return TargetRows(np.searchsorted(np.cumsum(bounds["lengths"]), tokens, side="right"), len(bounds["lengths"]))


def sum_by_row(losses: torch.Tensor, is_right: torch.Tensor, rows: TargetRows) -> NDArray[np.float64]:
    """Return the losses, tokens and right ones of each row of a batch, (3, batch), from those of its tokens (supervised,)."""
    sums = np.zeros((3, rows.count))
    for number, column in enumerate((losses, torch.ones_like(losses), is_right)):
        np.add.at(sums[number], rows.numbers, column.double().cpu().numpy())
    return sums


def answer_examples(features: FeatureRows, sums: RowSums) -> LanguageAnswers:
    """Return the likelihood of each example, summed over its pieces where it was cut.

    Raises:
        InvalidResultError: a loss is not finite.
    """
    if not isinstance(features, TextFeatures):
        return build_language_answers(*sums, text_bytes=np.zeros(len(features)))
    return build_language_answers(*map(features.sum_by_example, sums), text_bytes=features.text_bytes)
