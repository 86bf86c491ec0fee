"""Packing: rows laid end to end have the logits, losses and gradients that they have padded, for every architecture."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer, GPT2Config, MistralConfig, Qwen2Config, XLNetConfig

from finetune import load_recipe, run_recipe
from finetune.batching import Collator, Slot
from finetune.features import EncodedRow
from finetune.masking import NOT_PREDICTED
from finetune.packed_attention import _attend_by_length, _attend_padded
from finetune.packing import (
    COUNTS_FROM_PADDING,
    DECODERS,
    ENCODERS,
    Packer,
    can_pack,
    choose_layout,
    find_bounds,
    settle_batching,
)
from finetune.pooling import pooled_logits
from finetune.recipe import Recipe
from finetune.supervised_head import predict_supervised
from tests.cli_calls import write_recipe
from tests.language_models import VOCABULARY, build_language_model, gradients_of

LENGTHS = st.lists(st.integers(1, 24), min_size=1, max_size=12)
# Of every kind: down to the shortest possible, of one length, and long.
KINDS_OF_LENGTHS = ([9, 1, 20, 5, 13, 2, 7], [6, 6, 6], [80, 70, 96, 64])
PADDING = 1


def rows_of(lengths: list[int], seed: int = 0) -> list[tuple[EncodedRow, Slot]]:
    """Return rows of random tokens and token types, labelled in turn."""
    generator = np.random.default_rng(seed)
    return [
        (
            EncodedRow(
                generator.integers(5, VOCABULARY, length).astype(np.int32),
                np.sort(generator.integers(0, 2, length)).astype(np.int32),
                number % 2,
                None,
            ),
            Slot(number),
        )
        for number, length in enumerate(lengths)
    ]


def lay_both(
    architecture: str, rows: list[tuple[EncodedRow, Slot]], *, is_narrow: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rows as a padded batch and as a packed one, as a model takes them."""
    packer = Packer(PADDING + 1 if architecture in COUNTS_FROM_PADDING else 0, is_narrow)
    batches = Collator(PADDING)(rows), packer(rows)
    for batch in batches:
        for name in ("labels", "weights", "example_count", "token_count"):
            del batch[name]
        if architecture not in ("bert",):
            del batch["token_type_ids"]
    return batches


def assert_same_gradients(model: Any, padded: torch.Tensor, packed: torch.Tensor) -> None:
    expected, found = gradients_of(model, padded), gradients_of(model, packed)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def assert_pooled_equals_padded(architecture: str, lengths: list[int], *, is_narrow: bool = True) -> None:
    model = build_language_model(architecture, "classification")
    padded, packed = lay_both(architecture, rows_of(lengths), is_narrow=is_narrow)
    expected, found = pooled_logits(model, padded)[0], pooled_logits(model, packed)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    labels = torch.arange(len(lengths)) % 2
    losses = [torch.nn.functional.cross_entropy(logits, labels) for logits in (expected, found)]
    assert_same_gradients(model, *losses)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
@given(lengths=LENGTHS)
@settings(max_examples=20, deadline=None)
def test_packed_classifiers_say_and_learn_what_padded_ones_do(architecture: str, lengths: list[int]) -> None:
    assert_pooled_equals_padded(architecture, lengths)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
@pytest.mark.parametrize("lengths", KINDS_OF_LENGTHS, ids=["short", "equal", "long"])
def test_classifiers_of_every_architecture_are_exact(architecture: str, lengths: list[int]) -> None:
    assert_pooled_equals_padded(architecture, lengths)


def test_a_decoder_is_exact_where_its_last_layer_is_whole() -> None:
    assert_pooled_equals_padded("gpt2", [9, 1, 20, 5], is_narrow=False)


def assert_language_equals_padded(architecture: str, head: str, lengths: list[int], *, attention: str = "sdpa") -> None:
    model = build_language_model(architecture, head, attention)
    rows = rows_of(lengths)
    padded, packed = lay_both(architecture, rows, is_narrow=False)
    targets = [np.where(np.arange(len(row.input_ids)) % 3 == 0, row.input_ids, NOT_PREDICTED) for row, _ in rows]
    expected, _, _ = predict_supervised(model, padded, Collator(PADDING).lay_out(targets, NOT_PREDICTED))
    found, _, _ = predict_supervised(model, packed, Packer().lay_out(targets, NOT_PREDICTED))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert_same_gradients(model, expected.mean(), found.mean())


@given(lengths=LENGTHS)
@settings(max_examples=20, deadline=None)
def test_packed_language_models_say_and_learn_what_padded_ones_do(lengths: list[int]) -> None:
    assert_language_equals_padded("bert", "masked", lengths)
    assert_language_equals_padded("gpt2", "causal", lengths)


@pytest.mark.parametrize(
    ("architecture", "head"), [*((name, "masked") for name in ENCODERS), *((name, "causal") for name in DECODERS)]
)
@pytest.mark.parametrize("lengths", KINDS_OF_LENGTHS, ids=["short", "equal", "long"])
def test_language_models_of_every_architecture_are_exact(architecture: str, head: str, lengths: list[int]) -> None:
    assert_language_equals_padded(architecture, head, lengths)


def test_both_heads_of_pretraining_are_exact() -> None:
    model = build_language_model("bert", "pretraining")
    padded, packed = lay_both("bert", rows_of([9, 1, 20, 5]), is_narrow=False)
    expected, found = model(**padded), model(**packed)
    torch.testing.assert_close(found.seq_relationship_logits, expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)
    is_token = padded["attention_mask"].bool()
    torch.testing.assert_close(found.prediction_logits[0], expected.prediction_logits[is_token], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "gpt2"])
def test_recomputed_activations_are_exact(architecture: str) -> None:
    model = build_language_model(architecture, "classification")
    padded, packed = lay_both(architecture, rows_of([9, 1, 20, 5]), is_narrow=True)
    model.train()
    model.activation_checkpointing_enable()
    try:
        options = {"use_cache": False} if architecture == "gpt2" else {}
        assert_same_gradients(
            model, *(pooled_logits(model, batch, **options)[0].square().sum() for batch in (padded, packed))
        )
    finally:
        model.activation_checkpointing_disable()
        model.eval()


def test_a_padded_batch_after_a_packed_one_is_computed_as_ever() -> None:
    model = build_language_model("bert", "classification")
    padded, packed = lay_both("bert", rows_of([9, 1, 20, 5]), is_narrow=True)
    before = model(**padded).logits
    model(**packed)
    assert torch.equal(model(**padded).logits, before)


def test_a_model_that_was_not_prepared_refuses_a_packed_batch() -> None:
    model = build_language_model("bert", "classification", "sdpa", is_prepared=False)
    _, packed = lay_both("bert", rows_of([9, 1, 20, 5]), is_narrow=True)
    with pytest.raises(RuntimeError):
        model(**packed)


def test_tokens_lie_end_to_end_and_positions_start_anew() -> None:
    rows = rows_of([2, 3])
    packed = Packer(first_position=2)(rows)
    assert packed["input_ids"].tolist() == [[*rows[0][0].input_ids, *rows[1][0].input_ids]]
    assert packed["position_ids"].tolist() == [[2, 3, 2, 3, 4]]
    assert packed["token_type_ids"].tolist() == [[*rows[0][0].token_type_ids, *rows[1][0].token_type_ids]]
    assert packed["labels"].tolist() == [0, 1] and packed["weights"].tolist() == [1, 1]
    assert packed["example_count"] == 2 and packed["token_count"] == 5


def test_bounds_say_where_each_row_lies() -> None:
    bounds = find_bounds([2, 3])
    assert bounds["starts"].tolist() == [0, 2] and bounds["ends"].tolist() == [1, 4]
    assert bounds["cells"].tolist() == [0, 1, 3, 4, 5]
    assert bounds["is_token"][:, 0, 0].tolist() == [[True, True, False], [True] * 3]


@pytest.mark.parametrize("is_causal", [False, True])
@given(lengths=LENGTHS)
@settings(max_examples=30, deadline=None)
def test_a_gpu_s_padded_table_attends_as_rows_by_themselves_do(is_causal: bool, lengths: list[int]) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, sum(lengths), 8, requires_grad=True) for _ in range(3))
    options = {"is_causal": is_causal, "scale": 0.3, "dropout_p": 0.0, "enable_gqa": False}
    found = [
        _attend_padded(query, key, value, find_bounds(lengths), options),
        _attend_by_length(query, key, value, tuple(lengths), options),
    ]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    by_table, by_rows = (torch.autograd.grad(output.square().sum(), [query, key, value]) for output in found)
    torch.testing.assert_close(by_table, by_rows, atol=1e-5, rtol=1e-4)


def test_a_window_of_attention_must_hold_the_longest_row() -> None:
    assert can_pack(MistralConfig(sliding_window=64), 64)
    assert not can_pack(MistralConfig(sliding_window=64), 65)
    assert can_pack(Qwen2Config(sliding_window=64, use_sliding_window=False), 65)


def test_architectures_without_a_packed_form_fall_back_to_groups() -> None:
    assert not can_pack(XLNetConfig(), 8)
    assert not can_pack(GPT2Config(reorder_and_upcast_attn=True), 8)
    assert settle_batching("packed", Collator(0)) == "grouped"
    assert settle_batching("packed", Packer()) == "packed"
    assert settle_batching("padded", Collator(0)) == "padded"


@pytest.mark.parametrize(("train", "kind"), [
    ({}, Packer), ({"torch_compile": True}, Collator), ({"batching": "grouped"}, Collator), (None, Packer),
])  # fmt: skip
def test_a_compiled_model_gets_no_packed_batches_since_each_would_be_compiled_anew(
    tiny_bert: Path, train: dict[str, object] | None, kind: type
) -> None:
    recipe = Recipe.model_validate({"task": "cola", "model": {"checkpoint": str(tiny_bert)}, "train": train})
    tokenizer, config = AutoTokenizer.from_pretrained(tiny_bert), AutoConfig.from_pretrained(tiny_bert)
    assert type(choose_layout(recipe, tokenizer, config, 32)) is kind


def notes_of_run(folder: Path, checkpoint: Path, *overrides: str) -> str:
    write_recipe(folder / "r.yaml", checkpoint)
    run = run_recipe(load_recipe(folder / "r.yaml", ["train.max_steps=1", *overrides]), folder / "run")
    return " ".join(run.report.provenance.notes)


# Of torch about itself, when its compiler is imported.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_report_says_why_batches_are_not_packed(
    tiny_gpt2: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_gpt2, tmp_path / "own")
    config = json.loads((tmp_path / "own/config.json").read_text())
    (tmp_path / "own/config.json").write_text(json.dumps({**config, "reorder_and_upcast_attn": True}))
    found = notes_of_run(tmp_path / "a", tmp_path / "own")
    assert "batches are grouped, since architecture gpt2 has no packed form here" in found
    # What is said of compiling needs no compiler.
    monkeypatch.setattr(torch._dynamo.config, "disable", True)
    found = notes_of_run(tmp_path / "b", tiny_bert, "train.torch_compile=true")
    assert "batches are grouped, since torch.compile would compile each packed batch anew" in found
    assert "batches are" not in notes_of_run(tmp_path / "c", tiny_bert)
