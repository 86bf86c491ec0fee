"""Pair features: pairs of texts that share many, as in next-sentence prediction, with the tokens of each text stored once.

Owns how a pair is put together, `[CLS] A [SEP] B [SEP]` in BERT's words, and cut to the longest input. Its rows are those that
`features` makes of the same pairs, to the token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import read_column
from finetune.errors import SettingError
from finetune.features import EncodedRow, labels_of
from finetune.text_features import encode_texts

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Ids = NDArray[np.int32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class PairTemplate:
    """What a tokenizer puts around the two texts of a pair.

    Attributes:
        around: special tokens before the first text, between the two, and after the second.
        around_types: token types of these.
        text_types: token type of each text, (2,).
        has_types: whether the checkpoint reads token types.
    """

    around: tuple[Ids, ...]
    around_types: tuple[Ids, ...]
    text_types: Ids
    has_types: bool

    @property
    def special(self) -> int:
        """Number of special tokens of a row."""
        return sum(map(len, self.around))


@dataclass(frozen=True)
class PairFeatures:
    """All pairs of a split.

    Attributes:
        tokens: (all tokens,) of the different texts, end to end.
        starts: (texts + 1,), where each text begins in them.
        word_starts: (all tokens,), whether a word begins there; None where nobody asks.
        texts: (rows, 2), the two texts of each pair.
        kept: (rows, 2), how many tokens of each are left after truncation.
        labels: (rows,) class ids.
    """

    tokens: Ids
    starts: Numbers
    word_starts: NDArray[np.bool_] | None
    texts: Numbers
    kept: Numbers
    labels: NDArray[Any]
    template: PairTemplate

    @property
    def truncated(self) -> int:
        """How many rows were cut."""
        return int((self.kept < np.diff(self.starts)[self.texts]).any(axis=1).sum())

    @property
    def lengths(self) -> Numbers:
        """Tokens of each row, (rows,)."""
        return self.kept.sum(axis=1) + self.template.special

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def __getitem__(self, number: int) -> EncodedRow:
        """Return one row."""
        begins = self.starts[self.texts[number]]
        first, second = (slice(begin, begin + kept) for begin, kept in zip(begins, self.kept[number], strict=True))
        ids = interleave(self.template.around, self.tokens[first], self.tokens[second])
        types = starts = None
        if self.template.has_types:
            kinds = np.repeat(self.template.text_types, self.kept[number])
            types = interleave(self.template.around_types, *np.split(kinds, self.kept[number, :1]))
        if self.word_starts is not None:
            special = tuple(np.ones(len(part), dtype=np.bool_) for part in self.template.around)
            starts = interleave(special, self.word_starts[first], self.word_starts[second])
        return EncodedRow(ids, types, self.labels[number], starts)


def interleave(around: Sequence[NDArray[Any]], first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Return what belongs to the tokens of a row (tokens,): of its three parts of special tokens, and of the two texts between."""
    before, between, after = around
    return np.concatenate([before, first, between, second, after])


def encode_pairs(
    examples: "Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int, *, whole_words: bool = False
) -> PairFeatures:
    """Return the features of pairs, each at most `max_length` tokens, special tokens included; the longer text is cut first.

    `whole_words` asks for where words begin.

    Raises:
        SettingError: the special tokens alone fill `max_length`.
    """
    template = find_template(tokenizer)
    if max_length <= template.special:
        raise SettingError(
            "data.max_length", f"found {max_length}, of which {template.special} special tokens leave no room for text"
        )
    numbers: dict[str, int] = {}
    pairs = [
        [numbers.setdefault(text, len(numbers)) for text in texts]
        for texts in zip(read_column(examples, "text"), read_column(examples, "text_pair"), strict=True)
    ]
    texts = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    encoded = encode_texts(list(numbers), tokenizer, whole_words=whole_words)
    return PairFeatures(
        encoded.tokens,
        encoded.starts,
        encoded.word_starts if whole_words else None,
        texts,
        cut_longest_first(np.diff(encoded.starts)[texts], max_length - template.special),
        labels_of(examples),
        template,
    )


def cut_longest_first(lengths: Numbers, room: int) -> Numbers:
    """Return how many tokens of each text (rows, 2) are left so that a pair fits in `room`.

    The longer one is cut first, then both to halves; of an odd room the longer has one more. This is `longest_first` of the library
    tokenizers.
    """
    shorter, longer = lengths.min(axis=1), lengths.max(axis=1)
    half = np.minimum(shorter, room // 2)
    left = np.minimum(longer, room - half)
    second_is_longer = lengths[:, 0] <= lengths[:, 1]
    return np.where(second_is_longer[:, None], np.stack([half, left], axis=1), np.stack([left, half], axis=1))


def find_template(tokenizer: "PreTrainedTokenizerBase") -> PairTemplate:
    """Return what a tokenizer puts around the two texts of a pair."""
    encoded = tokenizer("a", "a", return_token_type_ids=True)
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids, types = (np.array(encoded[name], dtype=np.int32) for name in ("input_ids", "token_type_ids"))
    places = [at for at in range(len(ids)) if ids[at : at + len(bare)].tolist() == bare]
    first, second = places[0], places[-1]
    parts = slice(0, first), slice(first + len(bare), second), slice(second + len(bare), len(ids))
    return PairTemplate(
        tuple(ids[part] for part in parts),
        tuple(types[part] for part in parts),
        types[[first, second]],
        "token_type_ids" in tokenizer.model_input_names,
    )
