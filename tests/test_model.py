"""Checkpoints as they become classifiers: head, precision, padding, sizes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.batching import Collator
from finetune.checkpoint import Checkpoint, find_checkpoint
from finetune.errors import DataError
from finetune.features import choose_max_length, encode_features
from finetune.model import LoadedModel, count_parameters, label_names_of
from finetune.objectives.classification import Classification
from finetune.predict import predict_logits
from finetune.recipe_sections import ModelSettings
from finetune.start import load_config, load_tokenizer, open_start
from tests.tiny import load_classifier

FAMILIES = ["tiny_bert", "tiny_gpt2", "tiny_roberta"]
LABELS = ["no", "日本", "yes"]


@pytest.fixture(params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return find_checkpoint(ModelSettings(checkpoint=str(request.getfixturevalue(request.param))))


@pytest.fixture
def gpt2(tiny_gpt2: Path) -> Checkpoint:
    return find_checkpoint(ModelSettings(checkpoint=str(tiny_gpt2)))


def load(checkpoint: Checkpoint, seed: int) -> LoadedModel:
    torch.manual_seed(seed)
    return load_classifier(checkpoint, LABELS)


def logits_of(loaded: LoadedModel, texts: list[str], batch_size: int, pad_to: int | None = None) -> np.ndarray:
    from datasets import Dataset

    features = encode_features(Dataset.from_dict({"text": texts}), loaded.tokenizer, 64)
    return predict_logits(loaded.model, features, Collator(loaded.tokenizer.pad_token_id, pad_to), batch_size)


def test_the_head_is_drawn_from_the_seed_and_the_body_is_the_checkpoint_s(checkpoint: Checkpoint) -> None:
    first, same, other = (load(checkpoint, seed).model.state_dict() for seed in (1, 1, 2))
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert differing and all("classifier" in name or "score" in name for name in differing)


def test_new_weights_are_named_in_the_notes(checkpoint: Checkpoint) -> None:
    (note,) = [note for note in load(checkpoint, 1).notes if note.startswith("new weights")]
    assert "classifier" in note or "score" in note


def test_label_names_are_kept_in_their_order(checkpoint: Checkpoint, tmp_path: Path) -> None:
    loaded = load(checkpoint, 1)
    assert label_names_of(loaded.model.config) == LABELS
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    saved = find_checkpoint(ModelSettings(checkpoint=str(tmp_path)))
    assert label_names_of(load_config(saved)) == LABELS
    again = load_classifier(saved, LABELS, may_draw_head=False)
    assert again.notes == ("the head of the checkpoint is kept",)
    assert all(
        torch.equal(weights, again.model.state_dict()[name]) for name, weights in loaded.model.state_dict().items()
    )


def test_a_fitted_head_is_never_replaced_by_a_drawn_one(checkpoint: Checkpoint) -> None:
    with pytest.raises(DataError, match="it has no classification head, missing are .* fine-tune one first"):
        load_classifier(checkpoint, LABELS, may_draw_head=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_checkpoint_is_trained_in_32_bit_floats(
    tiny_bert: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    from transformers import AutoModel

    shutil.copytree(tiny_bert, tmp_path / "half")
    AutoModel.from_pretrained(tiny_bert, dtype=dtype).save_pretrained(tmp_path / "half")
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    loaded = load(find_checkpoint(ModelSettings(checkpoint=str(tmp_path / "half"))), 1)
    assert {weights.dtype for weights in loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("side", ["left", "right"])
def test_gpt2_reads_its_last_real_token_alone_and_in_a_batch_alike(tiny_gpt2: Path, tmp_path: Path, side: str) -> None:
    shutil.copytree(tiny_gpt2, tmp_path / "gpt2")
    path = tmp_path / "gpt2/tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding_side": side}))
    loaded = load(find_checkpoint(ModelSettings(checkpoint=str(tmp_path / "gpt2"))), 1)
    texts = ["the dog", "a cat sees the old house in the garden and hears every bird", "x", "farmer walks on"]
    alone = np.concatenate([logits_of(loaded, [text], 1) for text in texts])
    np.testing.assert_allclose(logits_of(loaded, texts, 4), alone, atol=1e-6)
    np.testing.assert_allclose(logits_of(loaded, texts, 4, pad_to=60), alone, atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4, "different texts get different answers"


def test_gpt2_gets_its_end_token_as_pad_token(gpt2: Checkpoint) -> None:
    tokenizer = load_tokenizer(gpt2)
    assert tokenizer.pad_token == tokenizer.eos_token and tokenizer.padding_side == "right"
    assert load(gpt2, 1).model.config.pad_token_id == tokenizer.pad_token_id


def test_an_end_token_within_the_text_is_read_and_not_taken_for_padding(gpt2: Checkpoint) -> None:
    loaded = load(gpt2, 1)
    end = loaded.tokenizer.eos_token
    texts = [f"the dog{end}", f"the cat{end}", "a cat sees the old house in the garden"]
    together, alone = logits_of(loaded, texts, 3), np.concatenate([logits_of(loaded, [text], 1) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_roberta_takes_512_tokens_of_514_positions(tiny_roberta: Path, tmp_path: Path) -> None:
    from transformers import RobertaConfig

    checkpoint = find_checkpoint(ModelSettings(checkpoint=str(tiny_roberta)))
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.model_max_length = 10**30
    config = RobertaConfig(max_position_embeddings=514, pad_token_id=1)
    assert choose_max_length(None, config, tokenizer) == 512
    # The longest input goes through the model, which has 66 positions.
    longest = choose_max_length(None, load_config(checkpoint), tokenizer)
    assert longest == 66 - tokenizer.pad_token_id - 1
    from datasets import Dataset

    features = encode_features(Dataset.from_dict({"text": ["dog " * 500]}), tokenizer, longest)
    assert int(features.lengths[0]) == longest and features.truncated == 1
    assert np.isfinite(predict_logits(load(checkpoint, 1).model, features, Collator(0), 1)).all()


def test_counted_parameters_are_those_of_the_loaded_model(checkpoint: Checkpoint) -> None:
    start = open_start(checkpoint)
    counted = count_parameters(start, Classification(start.tokenizer, 64, Collator(0)), LABELS)
    assert counted == load(checkpoint, 1).model.num_parameters()


def test_the_sha256_is_that_of_the_weights_file(checkpoint: Checkpoint) -> None:
    import hashlib

    assert checkpoint.sha256 == hashlib.sha256((checkpoint.folder / "model.safetensors").read_bytes()).hexdigest()
    assert find_checkpoint(ModelSettings(checkpoint=str(checkpoint.folder), sha256=checkpoint.sha256)) == checkpoint


def test_sharded_weights_are_the_same_model(tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tiny_bert).save_pretrained(tmp_path, max_shard_size="50KB")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    whole, cut = (load(find_checkpoint(ModelSettings(checkpoint=str(path))), 1) for path in (tiny_bert, tmp_path))
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, cut.model.state_dict()[name])


def test_weights_without_a_use_are_named_in_the_notes(tiny_bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tiny_bert, tmp_path / "more")
    weights = load_file(tiny_bert / "model.safetensors")
    save_file(
        {**weights, "cls.seq_relationship.bias": np.zeros(2, np.float32)},
        tmp_path / "more/model.safetensors",
        {"format": "pt"},
    )
    notes = load(find_checkpoint(ModelSettings(checkpoint=str(tmp_path / "more"))), 1).notes
    assert any("doesn't use: cls.seq_relationship.bias" in note for note in notes)
