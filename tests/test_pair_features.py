"""Pair features: the rows that a tokenizer makes of the same pairs, to the token, from texts that are stored once."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from finetune.checkpoint import Checkpoint
from finetune.errors import SettingError
from finetune.features import encode_features
from finetune.pair_features import cut_longest_first, encode_pairs
from finetune.start import load_tokenizer
from tests.tiny import WORDS

TEXTS = st.lists(st.sampled_from([*WORDS, "Sees,", "zebra's", "é", "𝒳"]), min_size=1, max_size=12).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)
FAMILIES = ("tiny_bert", "tiny_distilbert", "tiny_roberta", "tiny_gpt2")


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return load(request.getfixturevalue(request.param))


def load(folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(Checkpoint(folder, "tiny", "0" * 64))


def as_examples(pairs: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_dict(
        {
            "text": [first for first, _ in pairs],
            "text_pair": [second for _, second in pairs],
            "label": [number % 2 for number in range(len(pairs))],
        }
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(pairs=PAIRS, room=st.integers(1, 40))
def test_rows_are_those_of_the_tokenizer(
    tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]], room: int
) -> None:
    limit = room + tokenizer.num_special_tokens_to_add(pair=True)
    features = encode_pairs(as_examples(pairs), tokenizer, limit)
    whole = encode_pairs(as_examples(pairs), tokenizer, 1000)
    for number, (first, second) in enumerate(pairs):
        oracle = tokenizer(first, second, truncation=True, max_length=limit)
        row = features[number]
        assert row.input_ids.tolist() == oracle["input_ids"]
        assert features.lengths[number] == len(oracle["input_ids"])
        assert row.label == number % 2
        if "token_type_ids" in tokenizer.model_input_names:
            assert row.token_type_ids is not None and row.token_type_ids.tolist() == oracle["token_type_ids"]
        else:
            assert row.token_type_ids is None
    assert features.truncated == int((whole.lengths > limit).sum())


def test_rows_are_those_that_features_stores_one_by_one(tokenizer: PreTrainedTokenizerBase) -> None:
    words = np.array(WORDS)
    generator = np.random.default_rng(0)
    texts = [" ".join(words[generator.integers(len(words), size=size)]) for size in generator.integers(1, 40, 60)]
    examples = as_examples(list(zip(texts, reversed(texts), strict=True)))
    ours, stored = encode_pairs(examples, tokenizer, 24), encode_features(examples, tokenizer, 24)
    assert len(ours) == len(stored)
    assert ours.truncated == stored.truncated > 0
    np.testing.assert_array_equal(ours.lengths, stored.lengths)
    np.testing.assert_array_equal(ours.labels, stored.labels)
    for number in range(len(ours)):
        np.testing.assert_array_equal(ours[number].input_ids, stored[number].input_ids)


def test_a_text_is_stored_once_however_many_pairs_hold_it(tokenizer: PreTrainedTokenizerBase) -> None:
    pair = ("the dog sees a cat", "a red bird")
    once = encode_pairs(as_examples([pair]), tokenizer, 64)
    often = encode_pairs(as_examples([pair, pair[::-1], (pair[0], pair[0])]), tokenizer, 64)
    np.testing.assert_array_equal(once.tokens, often.tokens)


@given(lengths=st.tuples(st.integers(0, 60), st.integers(0, 60)), room=st.integers(0, 100))
def test_the_longer_text_is_cut_first_and_never_more_than_needed(lengths: tuple[int, int], room: int) -> None:
    kept = cut_longest_first(np.array([lengths]), room)[0]
    assert kept.sum() == min(sum(lengths), room)
    assert (kept <= lengths).all() and (kept >= 0).all()
    shorter = int(np.argmin(lengths))
    if kept[shorter] < lengths[shorter]:
        assert abs(int(kept[0]) - int(kept[1])) <= 1


def test_words_begin_where_the_tokenizer_says(tiny_roberta: Path) -> None:
    tokenizer = load(tiny_roberta)
    pair = ("the teacher's zebras", "unbelievable farmer")
    row = encode_pairs(as_examples([pair]), tokenizer, 64, whole_words=True)[0]
    assert row.word_starts is not None
    numbers = tokenizer(*pair).word_ids()
    expected = [at == 0 or number is None or number != numbers[at - 1] for at, number in enumerate(numbers)]
    assert row.word_starts.tolist() == expected
    assert not all(expected)
    assert encode_pairs(as_examples([pair]), tokenizer, 64)[0].word_starts is None


def test_special_tokens_alone_that_fill_a_row_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if special:
        with pytest.raises(SettingError, match=f"found {special}, of which {special} special tokens leave no room"):
            encode_pairs(as_examples([("a dog", "a cat")]), tokenizer, special)
