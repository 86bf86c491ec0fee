"""Trained tokenizers: special tokens in their places, nothing lost, the same again from the same texts and from disk."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.errors import SettingError
from finetune.recipe_sections import TokenizerSettings
from finetune.tokenizer_training import BYTE_PAIR_TOKENS, WORD_PIECE_TOKENS, Architecture, train_tokenizer
from tests.conftest import ROOT
from tests.tiny import build_sentences

TEXTS = [text for text, _ in build_sentences(300)] + [
    "The Critique of Pure Reason.",
    "The Critique of pure Reason is long.",
] * 4
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
BYTE_PAIRS: tuple[Architecture, ...] = ("roberta", "gpt2")


def train(architecture: Architecture, vocabulary: int = 400, min_frequency: int = 2, texts: list[str] = TEXTS) -> Any:
    return train_tokenizer(texts, architecture, TokenizerSettings(vocabulary=vocabulary, min_frequency=min_frequency))


def tokens_of(tokenizer: Any, *texts: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(*texts)["input_ids"])


def test_special_tokens_have_the_first_ids() -> None:
    ids = {name: train(name).get_vocab() for name in ARCHITECTURES}
    assert [ids["roberta"][token] for token in BYTE_PAIR_TOKENS] == [0, 1, 2, 3, 4]
    assert [ids["gpt2"][token] for token in BYTE_PAIR_TOKENS[:-1]] == [0, 1, 2, 3] and "<mask>" not in ids["gpt2"]
    for name in ("bert", "distilbert"):
        assert [ids[name][token] for token in WORD_PIECE_TOKENS] == [0, 1, 2, 3, 4]


def test_inputs_look_as_the_architecture_s_do() -> None:
    assert tokens_of(train("roberta"), "The dog") == ["<s>", "The", "Ġdog", "</s>"]
    assert tokens_of(train("roberta"), "The", " dog") == ["<s>", "The", "</s>", "</s>", "Ġdog", "</s>"]
    assert tokens_of(train("gpt2"), "The dog") == ["The", "Ġdog"]
    assert tokens_of(train("bert"), "The dog") == ["[CLS]", "the", "dog", "[SEP]"]
    assert train("bert")("the", "dog")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert "token_type_ids" not in train("distilbert")("the", "dog")
    gpt2 = train("gpt2")
    assert (gpt2.bos_token, gpt2.eos_token, gpt2.pad_token, gpt2.unk_token) == ("<s>", "</s>", "<pad>", "<unk>")


def test_words_that_occur_often_become_one_token_with_their_space() -> None:
    """The book's example, whose tokens are `The`, `ĠCritique`, `Ġof`, `ĠPure`, `ĠReason` and `.`."""
    assert train("roberta", 1000).tokenize("The Critique of Pure Reason.") == [
        "The",
        "ĠCritique",
        "Ġof",
        "ĠPure",
        "ĠReason",
        ".",
    ]


def test_a_mask_takes_the_space_before_it() -> None:
    tokenizer = train("roberta")
    assert tokenizer("The <mask>.")["input_ids"] == tokenizer("The<mask>.")["input_ids"]
    assert tokenizer("The <mask> dog")["input_ids"] == [
        0,
        tokenizer.get_vocab()["The"],
        4,
        tokenizer.get_vocab()["Ġdog"],
        2,
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_and_loaded_it_is_the_same(architecture: Architecture, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = train(architecture)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(tmp_path)
    again: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(tokenizer) and again.model_max_length == 64
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert again.special_tokens_map == tokenizer.special_tokens_map
    text = "The dog, <mask> and [MASK]: Ünïcode \u3042!"
    assert again(text, "b")["input_ids"] == tokenizer(text, "b")["input_ids"]


def test_another_process_trains_the_same_tokenizer() -> None:
    """The library's own trainer of word pieces gives another one each time, by the order of a hash table."""
    script = f"from {__name__} import digests; print(digests())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == str(digests())


def digests() -> list[str]:
    """Return a hash of each architecture's tokenizer."""
    return [hashlib.sha256(train(name).backend_tokenizer.to_str().encode()).hexdigest() for name in ARCHITECTURES]


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
@pytest.mark.parametrize("architecture", BYTE_PAIRS)
def test_byte_pairs_lose_nothing_of_any_text(architecture: Architecture, text: str) -> None:
    tokenizer = trained(architecture)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert tokenizer.unk_token_id not in ids


TRAINED: dict[Architecture, Any] = {}


def trained(architecture: Architecture) -> Any:
    if architecture not in TRAINED:
        TRAINED[architecture] = train(architecture)
    return TRAINED[architecture]


def test_rare_pairs_become_no_entries_and_the_vocabulary_stays_below_its_limit() -> None:
    sizes = [len(train("roberta", 10_000, frequency)) for frequency in (1, 2, 20)]
    assert sizes[0] > sizes[1] > sizes[2] >= 261
    assert len(train("gpt2", 300)) == 300


def test_more_characters_than_the_vocabulary_holds_are_refused() -> None:
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 200)))]
    with pytest.raises(SettingError, match=r"model.tokenizer.vocabulary: found 300, but the texts have \d+ characters"):
        train("bert", 300, texts=texts)
    assert len(train("roberta", 300, texts=texts)) <= 300
