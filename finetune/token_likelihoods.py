"""The log probability that a language model gives stated tokens at stated places, and nothing that isn't asked.

Owns the forward pass behind likelihoods of answers and sentences: the vocabulary head on the asked places alone, a beginning that all
rows share computed once. Which tokens are asked for is said by `sentence_likelihood` and `objectives/prompting`.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finetune.errors import InvalidResultError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

LOGITS_A_FORWARD = 2**26
"""Entries of the largest table of logits, 256 MB: the vocabulary times the asked places of a batch."""
SHORTEST_SHARED = 8
"""A shared beginning of fewer tokens isn't worth a pass of its own."""


@dataclass(frozen=True)
class Query:
    """What is asked of a model about one row of tokens.

    Attributes:
        input_ids: (tokens,).
        places: (places,) positions whose output is read, ascending; a causal model's output at i speaks of the token at i + 1.
        targets: (places, candidates) tokens whose log probability is wanted there.
    """

    input_ids: NDArray[np.int32]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]


class Queries(Protocol):
    """Queries that are made when they are read; a list of them will do where they are few."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, number: int, /) -> Query:
        """Return one of them."""
        ...


def ask_tokens(
    model: "PreTrainedModel",
    queries: Queries,
    lengths: NDArray[np.int64],
    batch_size: int,
    *,
    shares_beginning: bool = False,
    process: int = 0,
    processes: int = 1,
) -> list[NDArray[np.float64]]:
    """Return the log probabilities (places, candidates) of each query in order, in nats, the same on every process.

    `lengths` (queries,) are their tokens. Of a causal model whose queries share a beginning, that is computed once. Rows are padded on
    the right; each process takes every `processes`-th batch.

    Raises:
        InvalidResultError: one is not finite.
    """
    import torch

    from finetune.batching import order_for_evaluation

    was_training = model.training
    model.eval()
    found: list[tuple[int, NDArray[np.float64]]] = []
    with torch.inference_mode():
        begin, cache = _run_beginning(model, queries) if shares_beginning else (0, None)
        for numbers in order_for_evaluation(lengths, batch_size)[process::processes]:
            batch = [queries[int(number)] for number in numbers]
            for part in _cut_by_logits(batch, model.config.vocab_size):
                answers = _ask_batch(model, batch[part], begin, cache)
                found += zip(numbers[part].tolist(), answers, strict=True)
    model.train(was_training)
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    merged = [answer for _, answer in sorted(found, key=lambda pair: pair[0])]
    if bad := sum(not np.isfinite(answer).all() for answer in merged):
        raise InvalidResultError(
            f"the model's output is not finite on {bad} of {len(merged)} rows; nothing is reported"
        )
    return merged


def _ask_batch(model: "PreTrainedModel", batch: Sequence[Query], begin: int, cache: Any) -> list[NDArray[np.float64]]:
    import torch

    from finetune.supervised_head import supervised_only

    width = max(len(query.input_ids) for query in batch)
    input_ids = np.zeros((len(batch), width), dtype=np.int64)
    attention_mask = np.zeros((len(batch), width), dtype=np.int64)
    is_asked = np.zeros((len(batch), width), dtype=np.bool_)
    for row, query in enumerate(batch):
        input_ids[row, : len(query.input_ids)] = query.input_ids
        attention_mask[row, : len(query.input_ids)] = 1
        is_asked[row, query.places] = True
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(input_ids[:, begin:]).to(model.device),
        "attention_mask": torch.from_numpy(attention_mask).to(model.device),
    }
    if cache is not None:
        # A forward pass writes into the cache that it is given.
        inputs["past_key_values"] = deepcopy(cache)
        inputs["past_key_values"].batch_repeat_interleave(len(batch))
    with supervised_only(model, torch.from_numpy(is_asked[:, begin:]).to(model.device)):
        logits = token_logits(model(**inputs)).float()
    targets = torch.from_numpy(np.concatenate([query.targets for query in batch])).to(model.device)
    found = logits.gather(1, targets) - logits.logsumexp(dim=1, keepdim=True)
    ends = np.cumsum([len(query.places) for query in batch])[:-1]
    return np.split(found.double().cpu().numpy(), ends)


def token_logits(outputs: Any) -> "Tensor":
    """Return a language model's logits over its vocabulary, whatever the class calls them."""
    return outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits


def _cut_by_logits(batch: Sequence[Query], vocabulary: int) -> list[slice]:
    """Return the parts of a batch, in order, of which each makes a table of logits that fits."""
    begins, places = [0], 0
    for row, query in enumerate(batch):
        places += len(query.places)
        if row > begins[-1] and places * vocabulary > LOGITS_A_FORWARD:
            begins.append(row)
            places = len(query.places)
    return [slice(*bounds) for bounds in zip(begins, [*begins[1:], len(batch)], strict=True)]


def _find_beginning(queries: Queries) -> NDArray[np.int32]:
    """Return the tokens that every query begins with and of which none is asked; empty where a pass of their own gains nothing."""
    shared = queries[0].input_ids if len(queries) > 1 else np.zeros(0, dtype=np.int32)
    for number in range(len(queries)):
        query = queries[number]
        shared = shared[: query.places[0]]
        length = min(len(shared), len(query.input_ids))
        differs = np.flatnonzero(shared[:length] != query.input_ids[:length])
        shared = shared[: differs[0] if len(differs) else length]
        if len(shared) < SHORTEST_SHARED:
            return shared[:0]
    return shared


def _run_beginning(model: "PreTrainedModel", queries: Queries) -> tuple[int, Any]:
    """Return how many tokens all queries share at their beginning, and the keys and values that a causal model has of them."""
    import torch
    from transformers import DynamicCache

    from finetune.supervised_head import supervised_only

    shared = _find_beginning(queries)
    if not len(shared):
        return 0, None
    tokens = torch.from_numpy(shared.astype(np.int64))[None].to(model.device)
    # Nobody reads logits of the beginning.
    with supervised_only(model, torch.zeros_like(tokens, dtype=torch.bool)):
        cache = model(input_ids=tokens, use_cache=True).past_key_values
    # Other kinds of memory can't be laid before several rows.
    return (len(shared), cache) if type(cache) is DynamicCache else (0, None)
