"""Features: examples as token ids, encoded once.

Owns tokenisation, truncation counts and the compact store that batches are cut from. Pads nothing: that is for `batching`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from finetune.data import texts_of
from finetune.data_checks import read_labels
from finetune.errors import SettingError
from finetune.row_store import ROWS_A_CHUNK, Spool

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedRow:
    """One row of features.

    Attributes:
        input_ids, token_type_ids: (tokens,).
        label: class id; a number for regression; (labels,) of 0 and 1 for several labels at once; 0 where there is none.
        word_starts: (tokens,) whether a word begins with each token; None where nobody asks.
    """

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.integer] | None
    label: "int | float | NDArray[np.float32]"
    word_starts: NDArray[np.bool_] | None = None


class FeatureRows(Protocol):
    """Encoded rows of a split, however they are stored.

    Attributes:
        labels: (rows,) class ids or numbers, or (rows, labels) of 0 and 1.
        truncated: rows that were longer than the limit.
    """

    @property
    def labels(self) -> NDArray[Any]:
        """What is to be learnt of each row."""
        ...

    @property
    def truncated(self) -> int:
        """How many rows were cut."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, (rows,)."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, number: int) -> EncodedRow:
        """Return one row."""
        ...


@dataclass(frozen=True)
class Features:
    """All rows of a split, tokens end to end.

    Attributes:
        input_ids: (all tokens,).
        token_type_ids: (all tokens,), or None where the checkpoint has none.
        starts: (rows + 1,), where each row begins; the last entry is the number of tokens.
        labels: (rows,) class ids or numbers, or (rows, labels) of 0 and 1.
        truncated: rows that were longer than the limit.
    """

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.integer] | None
    starts: NDArray[np.int64]
    labels: NDArray[Any]
    truncated: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, (rows,)."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def __getitem__(self, number: int) -> EncodedRow:
        """Return one row."""
        cut = slice(self.starts[number], self.starts[number + 1])
        types = None if self.token_type_ids is None else self.token_type_ids[cut]
        return EncodedRow(self.input_ids[cut], types, self.labels[number])


def encode_features(examples: "Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Features:
    """Return the features of all examples, each at most `max_length` tokens, special tokens included.

    Raises:
        RecipeError: the special tokens alone fill `max_length`.
    """
    texts = texts_of(examples)
    special = tokenizer.num_special_tokens_to_add(pair="text_pair" in examples.column_names)
    if max_length <= special:
        raise SettingError(
            "data.max_length", f"found {max_length}, of which {special} special tokens leave no room for text"
        )
    ids, types, lengths, truncated = Spool(), Spool(), [], 0
    uses_types = "token_type_ids" in tokenizer.model_input_names
    for begin in range(0, len(texts), ROWS_A_CHUNK):
        encoded = _encode(texts[begin : begin + ROWS_A_CHUNK], tokenizer, max_length)
        ids.write(encoded.input_ids)
        if uses_types:
            types.write(encoded.token_type_ids.astype(np.int8))
        lengths.append(encoded.lengths)
        truncated += encoded.truncated
    return Features(
        input_ids=ids.read_array(np.int32),
        token_type_ids=types.read_array(np.int8) if uses_types else None,
        starts=np.cumsum(np.concatenate([[0], *lengths])),
        labels=labels_of(examples),
        truncated=truncated,
    )


class _Encoded(NamedTuple):
    """Some rows, end to end: both ids (all tokens,), lengths (rows,)."""

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    truncated: int


def _encode(rows: Sequence[tuple[str, ...]], tokenizer: "PreTrainedTokenizerBase", limit: int) -> _Encoded:
    if not tokenizer.is_fast:
        return _encode_in_python(rows, tokenizer, limit)
    # The same Rust code that the tokenizer calls, without the offsets into the text that nobody asks for here.
    backend: Any = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(limit, direction=tokenizer.truncation_side)
    found = backend.encode_batch_fast([row if len(row) == 2 else row[0] for row in rows])
    backend.no_truncation()
    ids, types = [row.ids for row in found], [row.type_ids for row in found]
    return _lay_end_to_end(ids, types, tokenizer.pad_token_id, sum(bool(row.overflowing) for row in found))


def _encode_in_python(rows: Sequence[tuple[str, ...]], tokenizer: "PreTrainedTokenizerBase", limit: int) -> _Encoded:
    columns = [list(column) for column in zip(*rows, strict=True)]
    encoded = tokenizer(
        *columns, truncation=True, max_length=limit, return_token_type_ids=True, return_attention_mask=False
    )
    truncated = _count_truncated(encoded, columns, tokenizer, limit)
    return _lay_end_to_end(encoded["input_ids"], encoded["token_type_ids"], tokenizer.pad_token_id, truncated)


def _lay_end_to_end(ids: list[list[int]], types: list[list[int]], pad_token_id: int, truncated: int) -> _Encoded:
    # A tokenizer without special tokens makes none of an empty text; a model has to be shown something.
    shown, their_types = [row or [pad_token_id] for row in ids], [row or [0] for row in types]
    return _Encoded(
        np.fromiter(chain.from_iterable(shown), dtype=np.int32),
        np.fromiter(chain.from_iterable(their_types), dtype=np.int32),
        np.array([len(row) for row in shown], dtype=np.int64),
        truncated,
    )


def labels_of(examples: "Dataset") -> NDArray[Any]:
    """Return the labels of examples as whole numbers (rows,), numbers (rows,), or 0 and 1 (rows, labels); 0 where there are none."""
    labels = read_labels(examples)
    if labels is None:
        return np.zeros(len(examples), dtype=np.int64)
    if labels.ndim == 2:
        return labels.astype(np.float32)
    # Numbers stay as exact as they were read, so that a report shows them as the file has them.
    return labels.astype(np.int64 if labels.dtype.kind in "iu" else np.float64)


def _count_truncated(
    encoded: "dict[str, list]", columns: list[list[str]], tokenizer: "PreTrainedTokenizerBase", limit: int
) -> int:
    """Count rows that were cut: only those as long as the limit can have been, so only they are encoded again."""
    full = [number for number, row in enumerate(encoded["input_ids"]) if len(row) >= limit]
    if not full:
        return 0
    again = tokenizer(
        *[[column[number] for number in full] for column in columns],
        truncation=False,
        verbose=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return sum(len(row) > limit for row in again["input_ids"])


def choose_max_length(stated: int | None, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the longest input in tokens.

    Raises:
        RecipeError: the recipe asks for more than the checkpoint can take.
    """
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 512
    # RoBERTa counts positions from pad_token_id + 1, so two of its 514 are never used.
    if config.model_type in ("roberta", "camembert", "xlm-roberta"):
        positions -= (config.pad_token_id or 0) + 1
    allowed = min(positions, tokenizer.model_max_length)
    if stated is not None and stated > allowed:
        raise SettingError("data.max_length", f"found {stated}, this checkpoint takes 2 to {allowed} tokens")
    return stated or allowed
