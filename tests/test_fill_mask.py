"""Filling masks, against the pipeline of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, pipeline

from finetune.errors import DataError
from finetune.fill_mask import fill_masks, split_at_masks
from tests.tiny import load_tokenizer


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta", "tiny_distilbert"])
def test_fillings_are_those_of_the_pipeline(family: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(family)
    torch.manual_seed(0)
    model: Any = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = load_tokenizer(folder)
    ((found,),) = fill_masks(model, tokenizer, ["The old <mask> walks."], 64, 7)
    ask = pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    theirs = ask(f"The old {tokenizer.mask_token} walks.", top_k=7)
    assert [filling.token for filling in found] == [entry["token_str"] for entry in theirs]
    for filling, entry in zip(found, theirs, strict=True):
        assert filling.probability == pytest.approx(entry["score"], rel=1e-5)


def test_either_way_to_write_a_mask_means_the_same(tiny_roberta: Path) -> None:
    model: Any = AutoModelForMaskedLM.from_pretrained(tiny_roberta)
    tokenizer = load_tokenizer(tiny_roberta)
    one, other, both = fill_masks(model, tokenizer, ["a <mask> dog", "a [MASK] dog", "<mask> a [MASK]"], 64, 3)
    assert one == other and len(one) == 1 and len(both) == 2
    assert [len(fillings) for fillings in both] == [3, 3]
    assert split_at_masks("<mask> a [MASK].") == ["", " a ", "."]


def test_a_model_with_two_heads_fills_masks_with_the_one_for_words(tiny_bert: Path) -> None:
    model: Any = AutoModelForPreTraining.from_pretrained(tiny_bert).eval()
    tokenizer = load_tokenizer(tiny_bert)
    ((found,),) = fill_masks(model, tokenizer, ["a [MASK] dog"], 64, 1000)
    assert len(found) == len(tokenizer)
    assert sum(filling.probability for filling in found) == pytest.approx(1.0)


def test_a_text_without_a_mask_or_too_long_is_refused(tiny_bert: Path) -> None:
    model: Any = AutoModelForMaskedLM.from_pretrained(tiny_bert)
    tokenizer = load_tokenizer(tiny_bert)
    with pytest.raises(DataError, match=r"no place to fill: write <mask> or \[MASK\] into 'a dog'"):
        fill_masks(model, tokenizer, ["a dog"], 64, 5)
    with pytest.raises(DataError, match="longer than the 64 that the model takes"):
        fill_masks(model, tokenizer, ["[MASK]" + " dog" * 70], 64, 5)
