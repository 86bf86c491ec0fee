"""Features: every row once, as its tokenizer reads it, with what was cut off counted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from transformers import BertConfig, GPT2Config, PretrainedConfig, RobertaConfig

from finetune.batching import Collator
from finetune.checkpoint import Checkpoint
from finetune.errors import RecipeError
from finetune.features import choose_max_length, encode_features
from finetune.predict import predict_logits
from finetune.start import load_config, load_tokenizer
from tests.tiny import build_sentences, load_classifier


def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(folder, "tiny", "0" * 64)


def examples_of(texts: Sequence[str], pairs: Sequence[str] | None = None) -> Dataset:
    columns = {"text": texts, "label": [number % 2 for number in range(len(texts))]}
    return Dataset.from_dict(columns | ({} if pairs is None else {"text_pair": pairs}))


@pytest.fixture(params=["tiny_bert", "tiny_gpt2", "tiny_roberta"])
def any_checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return checkpoint(request.getfixturevalue(request.param))


def test_each_row_holds_the_tokens_of_its_text(any_checkpoint: Checkpoint) -> None:
    tokenizer = load_tokenizer(any_checkpoint)
    texts = [text for text, _ in build_sentences(50)]
    features = encode_features(examples_of(texts), tokenizer, 64)
    assert len(features) == 50
    assert features.truncated == 0
    for number, text in enumerate(texts):
        row = features[number]
        assert row.label == number % 2
        assert row.input_ids.tolist() == tokenizer(text)["input_ids"]
    assert features.lengths.sum() == len(features.input_ids) == features.starts[-1]


def test_rows_encoded_in_several_calls_and_kept_on_disk_leave_no_seam(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(checkpoint(tiny_bert))
    rows = examples_of([text for text, _ in build_sentences(50)], ["a dog", "some red bird"] * 25)
    whole = encode_features(rows, tokenizer, 12)
    monkeypatch.setattr("finetune.features.ROWS_A_CHUNK", 7)
    monkeypatch.setattr("finetune.row_store.BYTES_IN_MEMORY", 0)
    cut = encode_features(rows, tokenizer, 12)
    assert cut.truncated == whole.truncated > 0
    np.testing.assert_array_equal(cut.input_ids, whole.input_ids)
    np.testing.assert_array_equal(cut.token_type_ids, whole.token_type_ids)
    np.testing.assert_array_equal(cut.starts, whole.starts)


def test_only_rows_longer_than_the_limit_count_as_truncated(any_checkpoint: Checkpoint) -> None:
    tokenizer = load_tokenizer(any_checkpoint)
    texts = [" ".join(["dog"] * number) for number in range(1, 30)]
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    limit = lengths[14]
    features = encode_features(examples_of(texts), tokenizer, limit)
    assert features.truncated == sum(length > limit for length in lengths) == 14
    assert features.lengths.max() == limit
    assert features.lengths.tolist() == [min(length, limit) for length in lengths]


def test_pairs_are_told_apart_by_token_types(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(checkpoint(tiny_bert))
    features = encode_features(examples_of(["a dog"], ["some red bird"]), tokenizer, 64)
    types = features[0].token_type_ids
    assert types is not None
    assert types.tolist() == [0] * (len(tokenizer("a dog")["input_ids"])) + [1] * (len(types) - 4)
    assert features[0].input_ids.tolist() == tokenizer("a dog", "some red bird")["input_ids"]


def test_a_pair_is_cut_at_its_longer_text(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(checkpoint(tiny_bert))
    features = encode_features(examples_of(["dog " * 40], ["bird"]), tokenizer, 16)
    assert features.truncated == 1
    row = features[0]
    assert len(row.input_ids) == 16
    assert row.input_ids[-2] == tokenizer.convert_tokens_to_ids("bird")


def test_a_checkpoint_without_token_types_has_none(tiny_gpt2: Path) -> None:
    assert encode_features(examples_of(["a dog"]), load_tokenizer(checkpoint(tiny_gpt2)), 64).token_type_ids is None


def test_an_empty_text_still_has_a_token_and_a_finite_answer(any_checkpoint: Checkpoint) -> None:
    loaded = load_classifier(any_checkpoint, ("no", "yes"))
    alone = encode_features(examples_of([""]), loaded.tokenizer, 64)
    among = encode_features(examples_of(["", "a dog likes the cat"]), loaded.tokenizer, 64)
    assert (alone.lengths >= 1).all()
    assert alone.truncated == 0
    answer = predict_logits(loaded.model, alone, Collator(loaded.tokenizer.pad_token_id), 8)
    assert np.isfinite(answer).all()
    np.testing.assert_allclose(
        predict_logits(loaded.model, among, Collator(loaded.tokenizer.pad_token_id), 8)[:1], answer, atol=1e-6
    )


def test_rows_without_labels_can_be_encoded(tiny_bert: Path) -> None:
    rows = Dataset.from_dict({"text": ["a dog", "a cat"]})
    assert encode_features(rows, load_tokenizer(checkpoint(tiny_bert)), 64).labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("family", "pairs", "limit", "special"),
    [("tiny_bert", None, 2, 2), ("tiny_bert", ["b"], 3, 3), ("tiny_roberta", ["b"], 4, 4)],
)
def test_a_limit_that_special_tokens_fill_is_refused(
    request: pytest.FixtureRequest, family: str, pairs: list[str] | None, limit: int, special: int
) -> None:
    tokenizer = load_tokenizer(checkpoint(request.getfixturevalue(family)))
    with pytest.raises(RecipeError) as caught:
        encode_features(examples_of(["a dog likes a cat"], pairs), tokenizer, limit)
    assert str(caught.value) == (
        f"data.max_length: found {limit}, of which {special} special tokens leave no room for text"
    )
    features = encode_features(examples_of(["a dog likes a cat"], pairs), tokenizer, limit + 1)
    assert features.lengths.tolist() == [limit + 1]


def test_the_longest_input_is_what_the_checkpoint_allows(any_checkpoint: Checkpoint) -> None:
    config, tokenizer = load_config(any_checkpoint), load_tokenizer(any_checkpoint)
    assert choose_max_length(None, config, tokenizer) == 64
    assert choose_max_length(64, config, tokenizer) == 64
    assert choose_max_length(5, config, tokenizer) == 5
    with pytest.raises(RecipeError, match=r"^data\.max_length: found 65, this checkpoint takes 2 to 64 tokens$"):
        choose_max_length(65, config, tokenizer)


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (GPT2Config(n_positions=1024), 1024),
    ],
)
def test_a_tokenizer_that_states_no_limit_leaves_it_to_the_positions(
    tiny_bert: Path, config: PretrainedConfig, allowed: int
) -> None:
    tokenizer = load_tokenizer(checkpoint(tiny_bert))
    tokenizer.model_max_length = int(1e30)
    assert choose_max_length(None, config, tokenizer) == allowed


def test_a_row_of_the_longest_allowed_length_goes_through_the_model(any_checkpoint: Checkpoint) -> None:
    loaded = load_classifier(any_checkpoint, ("no", "yes"))
    limit = choose_max_length(None, loaded.model.config, loaded.tokenizer)
    features = encode_features(examples_of(["dog " * 200]), loaded.tokenizer, limit)
    assert features.lengths.tolist() == [limit]
    assert np.isfinite(predict_logits(loaded.model, features, Collator(loaded.tokenizer.pad_token_id), 8)).all()


@pytest.mark.parametrize("pairs", [None, ["some red bird likes the old garden", ""] * 10])
@pytest.mark.parametrize("limit", [7, 64])
def test_rows_hold_what_the_tokenizer_itself_returns(
    any_checkpoint: Checkpoint, pairs: list[str] | None, limit: int
) -> None:
    tokenizer = load_tokenizer(any_checkpoint)
    texts = [text for text, _ in build_sentences(20)]
    columns = [texts] if pairs is None else [texts, pairs]
    expected = tokenizer(*columns, truncation=True, max_length=limit)
    whole = tokenizer(*columns)
    features = encode_features(examples_of(texts, pairs), tokenizer, limit)
    rows = [features[number] for number in range(len(features))]
    assert [row.input_ids.tolist() for row in rows] == expected["input_ids"]
    if "token_type_ids" in expected:
        assert [row.token_type_ids.tolist() for row in rows if row.token_type_ids is not None] == expected[
            "token_type_ids"
        ]
    assert features.truncated == sum(len(ids) > limit for ids in whole["input_ids"])


def test_a_tokenizer_without_a_rust_part_encodes_the_same_way() -> None:
    from transformers import CanineTokenizer

    tokenizer = CanineTokenizer()
    assert not tokenizer.is_fast
    texts = ["a dog", "", "the small farmer"]
    features = encode_features(examples_of(texts), tokenizer, 10)
    expected = tokenizer(texts, truncation=True, max_length=10)["input_ids"]
    assert [features[number].input_ids.tolist() for number in range(3)] == expected
    assert features.truncated == 1
