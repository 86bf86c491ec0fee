"""Text features: documents as pieces of at most max_length tokens, so that nothing of a long text is cut off.

Owns how a document is cut for a masked model (pieces side by side, each between the special tokens of its own) and for a causal one
(pieces that overlap by a token, so that every token is predicted once). Tokens are stored once, whatever the pieces share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import read_column
from finetune.errors import DataError, SettingError
from finetune.features import EncodedRow, FeatureRows, choose_max_length
from finetune.masking import NOT_PREDICTED
from finetune.row_store import Spool, read_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from finetune.batching import Slot

DEFAULT_LENGTH: Final = 512
# Text of one call of the tokenizer: its own record of a token is far larger than the id that is kept of it.
CHARACTERS_A_CALL: Final = 2_000_000


@dataclass(frozen=True)
class TextFeatures:
    """The pieces of all documents of a split.

    Attributes:
        tokens: (all tokens,) of the documents, end to end.
        starts: (examples + 1,), where each document begins in them.
        begins, ends: (pieces,), where each piece does.
        examples: (pieces,), the document that each belongs to, in order.
        text_bytes: (examples,), length of each document in UTF-8, 0 where only some of its tokens are predicted.
        prefix, suffix: special tokens round every piece.
        word_starts: (all tokens,), whether a word begins there; None where nobody asks.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    examples: NDArray[np.int64]
    text_bytes: NDArray[np.int64]
    prefix: NDArray[np.int32]
    suffix: NDArray[np.int32]
    word_starts: NDArray[np.bool_] | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Return zeros, (pieces,): the text itself is what is learnt."""
        return np.zeros(len(self), dtype=np.int64)

    @property
    def truncated(self) -> int:
        """Return 0: documents are cut in pieces, and none is left out."""
        return 0

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each piece, special tokens included, (pieces,)."""
        return self.ends - self.begins + len(self.prefix) + len(self.suffix)

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.begins)

    def __getitem__(self, number: int) -> EncodedRow:
        """Return one piece."""
        cut = slice(self.begins[number], self.ends[number])
        starts = None
        if self.word_starts is not None:
            starts = np.ones(int(self.lengths[number]), dtype=np.bool_)
            # The rest of a word that the cut went through is a word of this piece.
            starts[len(self.prefix) + 1 : len(starts) - len(self.suffix)] = self.word_starts[cut][1:]
        return EncodedRow(np.concatenate([self.prefix, self.tokens[cut], self.suffix]), None, 0, starts)

    def sum_by_example(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sums of values of pieces (pieces,) by document, (examples,)."""
        sums = np.zeros(len(self.starts) - 1)
        np.add.at(sums, self.examples, values)
        return sums


def lengths_of_examples(features: FeatureRows) -> NDArray[np.int64]:
    """Return the tokens of each example (examples,), be it one row or cut in pieces."""
    return np.diff(features.starts) if isinstance(features, TextFeatures) else features.lengths


def choose_piece_length(stated: int | None, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the longest piece in tokens: what the recipe states, else what the checkpoint allows, at most DEFAULT_LENGTH.

    Raises:
        SettingError: the recipe asks for more than the checkpoint can take.
    """
    allowed = choose_max_length(stated, config, tokenizer)
    return allowed if stated else min(DEFAULT_LENGTH, allowed)


def encode_side_by_side(
    examples: "Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int, *, part: str, whole_words: bool = False
) -> TextFeatures:
    """Return pieces for a masked model: `[CLS] piece [SEP]` in BERT's words, no token in two of them.

    Raises:
        SettingError: the special tokens alone fill `max_length`.
        DataError: the texts hold no token.
    """
    prefix, suffix = find_special_tokens(tokenizer)
    room = max_length - len(prefix) - len(suffix)
    if room < 1:
        raise SettingError(
            "data.max_length",
            f"found {max_length}, of which {len(prefix) + len(suffix)} special tokens leave no room for text",
        )
    documents = encode_texts(_read_texts(examples), tokenizer, whole_words=whole_words)
    if not len(documents.tokens):
        raise DataError(f"{part}: its {len(examples):,} texts hold no token to learn from or to measure")
    begins, ends, owners = cut_documents(documents.starts, room, overlap=0)
    return TextFeatures(
        documents.tokens,
        documents.starts,
        begins,
        ends,
        owners,
        text_bytes=np.zeros(len(examples), dtype=np.int64),
        prefix=prefix,
        suffix=suffix,
        word_starts=documents.word_starts if whole_words else None,
    )


def encode_overlapping(
    examples: "Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int, *, part: str
) -> TextFeatures:
    """Return pieces for a causal model of `<begin> document <end>`, each beginning with the last token of the one before.

    The first token of a piece isn't predicted, so every token of a document and its end are predicted once, its beginning never.

    Raises:
        DataError: there is no text, or the tokenizer has no token for the ends of a text.
    """
    if not len(examples):
        raise DataError(f"{part}: there is no text to learn from or to measure")
    documents = encode_texts(_read_texts(examples), tokenizer, ends=find_end_tokens(tokenizer))
    begins, ends, owners = cut_documents(documents.starts, max_length, overlap=1)
    nothing = np.zeros(0, dtype=np.int32)
    return TextFeatures(
        documents.tokens,
        documents.starts,
        begins,
        ends,
        owners,
        text_bytes=documents.text_bytes,
        prefix=nothing,
        suffix=nothing,
    )


def cut_documents(
    starts: NDArray[np.int64], width: int, *, overlap: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where pieces of at most `width` tokens begin and end, and whose they are, all (pieces,).

    A piece shares `overlap` tokens with the next; every document has a piece, an empty one too.
    """
    lengths, stride = np.diff(starts), width - overlap
    counts = np.maximum(1, -(-(lengths - overlap) // stride))
    owners = np.repeat(np.arange(len(lengths)), counts)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[owners] + place * stride
    return begins, np.minimum(begins + width, starts[owners + 1]), owners


def following_tokens(row: EncodedRow, slot: "Slot") -> NDArray[np.int64]:
    """Return the token to predict from each position of a row from left to right, (tokens,): the next one, after the last none.

    Nothing is predicted of a filler.
    """
    targets = np.full(len(row.input_ids), NOT_PREDICTED, dtype=np.int64)
    if not slot.is_filler:
        targets[:-1] = row.input_ids[1:]
    return targets


def find_special_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the ids that a tokenizer puts before a text and after it."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    before = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    return np.array(whole[:before], dtype=np.int32), np.array(whole[before + len(bare) :], dtype=np.int32)


def find_end_tokens(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """Return the ids that begin and end a text; one stands for both where there is no other, as in GPT-2.

    Raises:
        DataError: the tokenizer has neither.
    """
    known = [number for number in (tokenizer.bos_token_id, tokenizer.eos_token_id) if number is not None]
    if not known:
        raise DataError(
            "the tokenizer has neither a begin nor an end token, one of which causal language modelling needs"
        )
    return known[0], known[-1]


class EncodedTexts(NamedTuple):
    """Texts as tokens without the special ones of a model's input.

    Attributes:
        tokens: (all tokens,), the texts end to end.
        starts: (texts + 1,), where each begins.
        text_bytes: (texts,), length in UTF-8.
        word_starts: (all tokens,), empty where nobody asks.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    text_bytes: NDArray[np.int64]
    word_starts: NDArray[np.bool_]


def encode_texts(
    texts: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    ends: tuple[int, int] | None = None,
    whole_words: bool = False,
) -> EncodedTexts:
    """Return the tokens of all texts, each between the two of `ends` where these are given; `whole_words` asks for `word_starts`."""
    tokens, word_starts = Spool(), Spool()
    lengths, text_bytes = [np.zeros(1, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for call in _share_out(texts):
        encoded = tokenizer(
            call, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        found = [[ends[0], *ids, ends[1]] if ends else ids for ids in encoded["input_ids"]]
        tokens.write(np.fromiter(chain.from_iterable(found), dtype=np.int32))
        lengths.append(np.array([len(ids) for ids in found], dtype=np.int64))
        text_bytes.append(np.array([len(text.encode()) for text in call], dtype=np.int64))
        if whole_words:
            for number in range(len(call)):
                word_starts.write(find_word_starts(encoded.word_ids(number)))
    return EncodedTexts(
        tokens.read_array(np.int32),
        np.cumsum(np.concatenate(lengths)),
        np.concatenate(text_bytes),
        word_starts.read_array(np.bool_),
    )


def _read_texts(examples: "Dataset") -> Sequence[str]:
    return read_rows(examples, lambda rows: read_column(rows, "text"))


def _share_out(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in calls of about CHARACTERS_A_CALL."""
    call: list[str] = []
    characters = 0
    for text in texts:
        call.append(text)
        characters += len(text)
        if characters >= CHARACTERS_A_CALL:
            yield call
            call, characters = [], 0
    if call:
        yield call


def find_word_starts(word_ids: Sequence[int | None]) -> NDArray[np.bool_]:
    """Return whether a word begins with each token (tokens,), by the tokenizer's number of its word; one without is a word by itself."""
    return np.array(
        [number is None or not at or number != word_ids[at - 1] for at, number in enumerate(word_ids)], dtype=np.bool_
    )
