"""Text features: documents in pieces that lose nothing, ask for nothing twice and know whose they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config

from finetune import text_features
from finetune.batching import Slot
from finetune.checkpoint import Checkpoint
from finetune.errors import DataError, SettingError
from finetune.features import encode_features
from finetune.masking import NOT_PREDICTED
from finetune.start import load_tokenizer
from finetune.text_features import (
    TextFeatures,
    choose_piece_length,
    cut_documents,
    encode_overlapping,
    encode_side_by_side,
    following_tokens,
    lengths_of_examples,
)
from tests.tiny import build_sentences

TEXTS = ["a dog sees the cat", "", "the small farmer never often likes " * 9, "birds."]


def tokenizer_of(folder: Path) -> Any:
    return load_tokenizer(Checkpoint(folder, "tiny", "0" * 64))


def documents_of(texts: list[str]) -> Dataset:
    return Dataset.from_dict({"text": texts})


def pieces_of(features: TextFeatures, example: int) -> list[list[int]]:
    return [features[number].input_ids.tolist() for number in np.flatnonzero(features.examples == example)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(2, 12), st.sampled_from([0, 1]))
@settings(max_examples=100, deadline=None)
def test_pieces_cover_each_document_in_order_and_share_no_more_than_they_should(
    lengths: list[int], width: int, overlap: int
) -> None:
    starts = np.concatenate(([0], np.cumsum(lengths)))
    begins, ends, owners = cut_documents(starts, width, overlap=overlap)
    assert (ends - begins <= width).all()
    for number, length in enumerate(lengths):
        mine = owners == number
        assert mine.any(), "a document without a piece"
        inside = [np.arange(begin, end)[overlap:] for begin, end in zip(begins[mine], ends[mine], strict=True)]
        np.testing.assert_array_equal(np.concatenate(inside), starts[number] + np.arange(overlap, max(length, overlap)))
    assert (np.diff(owners) >= 0).all()


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_a_piece_of_a_masked_model_stands_between_its_special_tokens(
    request: pytest.FixtureRequest, family: str
) -> None:
    tokenizer = tokenizer_of(request.getfixturevalue(family))
    features = encode_side_by_side(documents_of(TEXTS), tokenizer, 12, part="train")
    for number, text in enumerate(TEXTS):
        ids = tokenizer(text)["input_ids"]
        inner = [ids[1:-1][at : at + 10] for at in range(0, len(ids) - 2, 10)] or [[]]
        assert pieces_of(features, number) == [[ids[0], *piece, ids[-1]] for piece in inner]
    assert features.lengths.tolist() == [len(features[number].input_ids) for number in range(len(features))]
    assert features.truncated == 0
    assert features.text_bytes.tolist() == [0, 0, 0, 0]


def test_a_piece_of_a_causal_model_begins_with_the_last_token_of_the_one_before(tiny_gpt2: Path) -> None:
    tokenizer = tokenizer_of(tiny_gpt2)
    features = encode_overlapping(documents_of(TEXTS), tokenizer, 12, part="train")
    for number, text in enumerate(TEXTS):
        whole = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        pieces = pieces_of(features, number)
        assert pieces == [whole[at : at + 12] for at in range(0, len(whole) - 1, 11)]
        assert [token for piece in pieces for token in piece[1:]] == whole[1:], "each token is predicted once"
    assert features.text_bytes.tolist() == [len(text.encode()) for text in TEXTS]


def test_after_each_token_comes_the_next_and_after_the_last_none(tiny_gpt2: Path) -> None:
    row = encode_overlapping(documents_of(["a dog"]), tokenizer_of(tiny_gpt2), 12, part="train")[0]
    assert following_tokens(row, Slot(0)).tolist() == [*row.input_ids[1:].tolist(), NOT_PREDICTED]
    assert set(following_tokens(row, Slot(0, is_filler=True)).tolist()) == {NOT_PREDICTED}


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_words_begin_where_the_tokenizer_says(request: pytest.FixtureRequest, family: str) -> None:
    tokenizer = tokenizer_of(request.getfixturevalue(family))
    texts = [text for text, _ in build_sentences(30)] + ["unforgettable " * 9]
    features = encode_side_by_side(documents_of(texts), tokenizer, 16, part="train", whole_words=True)
    for number in range(len(features)):
        row = features[number]
        assert row.word_starts is not None
        tokens = tokenizer.convert_ids_to_tokens(row.input_ids)
        continues = [
            token.startswith("##") if family == "tiny_bert" else token[0] not in "Ġ." for token in tokens[2:-1]
        ]
        # The ends and what follows them begin words of their own.
        assert row.word_starts.tolist() == [True, True, *(not inside for inside in continues), True]


def test_calls_of_the_tokenizer_leave_no_seam(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_of(tiny_bert)
    whole = encode_side_by_side(documents_of(TEXTS * 3), tokenizer, 12, part="train", whole_words=True)
    monkeypatch.setattr(text_features, "CHARACTERS_A_CALL", 30)
    cut = encode_side_by_side(documents_of(TEXTS * 3), tokenizer, 12, part="train", whole_words=True)
    for name in ("tokens", "starts", "begins", "ends", "examples", "word_starts"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_values_of_pieces_add_up_by_document(tiny_bert: Path) -> None:
    features = encode_side_by_side(documents_of(TEXTS), tokenizer_of(tiny_bert), 12, part="test")
    sums = features.sum_by_example(features.ends - features.begins)
    np.testing.assert_array_equal(sums, lengths_of_examples(features))
    assert len(features.labels) == len(features) > len(sums) == 4


def test_the_length_of_an_uncut_row_is_that_of_its_example(tiny_bert: Path) -> None:
    features = encode_features(documents_of(TEXTS), tokenizer_of(tiny_bert), 64)
    np.testing.assert_array_equal(lengths_of_examples(features), features.lengths)


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_texts_without_a_token_are_refused(tiny_bert: Path, texts: list[str]) -> None:
    with pytest.raises(DataError, match=rf"^train: its {len(texts)} texts hold no token to learn from or to measure$"):
        encode_side_by_side(documents_of(texts), tokenizer_of(tiny_bert), 12, part="train")


def test_no_texts_at_all_are_refused(tiny_gpt2: Path) -> None:
    with pytest.raises(DataError, match=r"^test: there is no text to learn from or to measure$"):
        encode_overlapping(documents_of([]), tokenizer_of(tiny_gpt2), 12, part="test")


def test_a_limit_that_special_tokens_fill_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(SettingError) as caught:
        encode_side_by_side(documents_of(["a"]), tokenizer_of(tiny_bert), 2, part="train")
    assert str(caught.value) == "data.max_length: found 2, of which 2 special tokens leave no room for text"


def test_a_tokenizer_without_ends_of_a_text_is_refused(tiny_gpt2: Path) -> None:
    tokenizer = tokenizer_of(tiny_gpt2)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(DataError, match="neither a begin nor an end token"):
        encode_overlapping(documents_of(["a"]), tokenizer, 12, part="train")


@pytest.mark.parametrize(("stated", "positions", "length"), [(None, 1024, 512), (None, 64, 64), (1000, 1024, 1000)])
def test_pieces_are_as_long_as_stated_or_as_allowed_up_to_512(
    tiny_gpt2: Path, stated: int | None, positions: int, length: int
) -> None:
    tokenizer = tokenizer_of(tiny_gpt2)
    tokenizer.model_max_length = 10_000
    assert choose_piece_length(stated, GPT2Config(n_positions=positions), tokenizer) == length
