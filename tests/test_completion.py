"""Completion: deterministic for a seed, greedy at temperature 0, quiet."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetune.completion import Sampling, complete_texts
from finetune.errors import DataError
from tests.tiny import load_tokenizer

Loaded = tuple[Any, Any]


@pytest.fixture(scope="module")
def loaded(tiny_gpt2: Path) -> Loaded:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(tiny_gpt2).eval(), load_tokenizer(tiny_gpt2)


def complete(loaded: Loaded, *texts: str, **settings: Any) -> list[str]:
    return complete_texts(*loaded, texts, 64, Sampling(**{"max_new_tokens": 12, **settings}))


def test_temperature_0_takes_the_likeliest_token_each_time(loaded: Loaded) -> None:
    model, tokenizer = loaded
    ids = [tokenizer.bos_token_id, *tokenizer("The dog")["input_ids"]]
    begin = len(ids)
    for _ in range(12):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    assert complete(loaded, "The dog", temperature=0.0, seed=7) == [
        tokenizer.decode(ids[begin:], skip_special_tokens=True)
    ]


def test_a_seed_decides_and_neither_the_other_texts_nor_earlier_draws_do(loaded: Loaded) -> None:
    first = complete(loaded, "The dog", "", "A red bird")
    torch.rand(5)
    assert complete(loaded, "A red bird", "The dog") == [first[2], first[0]]
    assert complete(loaded, "The dog", seed=2) != first[:1]


def test_a_completion_leaves_the_generator_of_the_caller_alone(loaded: Loaded) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    complete(loaded, "The dog")
    assert torch.equal(before, torch.get_rng_state())


def test_top_k_of_one_is_greedy_whatever_the_temperature(loaded: Loaded) -> None:
    assert complete(loaded, "The dog", top_k=1, temperature=5.0) == complete(loaded, "The dog", temperature=0.0)


def test_a_text_that_leaves_no_room_is_refused(loaded: Loaded) -> None:
    with pytest.raises(DataError, match="and 12 new ones are more than the 64 that the model takes"):
        complete(loaded, "dog " * 40)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", -1.0), ("temperature", float("nan")), ("top_k", 0), ("max_new_tokens", 0)]
)
def test_settings_that_draw_nothing_are_refused(name: str, value: float) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(DataError, match=f"{name}: found"):
        Sampling(**settings)
