"""The vocabulary head on supervised positions: the numbers of the full head, without its work."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2ForSequenceClassification

from finetune.masking import NOT_PREDICTED
from finetune.supervised_head import (
    compare_through_embeddings,
    compare_tokens,
    predict_supervised,
    supervised_only,
)
from tests.language_models import VOCABULARY, build_language_model, gradients_of

MODELS = [
    ("bert", "masked"),
    ("roberta", "masked"),
    ("distilbert", "masked"),
    ("bert", "pretraining"),
    ("gpt2", "causal"),
]


def batch_of(supervised: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (3, 7) and targets with something to predict at some (row, token)."""
    ids = torch.randint(5, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
    targets = torch.full((3, 7), NOT_PREDICTED)
    for at in supervised:
        targets[at] = (ids[at] + 1) % VOCABULARY
    return ids, targets


def logits_of(outputs: Any) -> torch.Tensor:
    return outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits


@pytest.mark.parametrize(("architecture", "head"), MODELS)
def test_losses_and_gradients_are_those_of_the_full_head(architecture: str, head: str) -> None:
    model = build_language_model(architecture, head)
    ids, targets = batch_of([(0, 1), (0, 4), (2, 6)])
    full = logits_of(model(input_ids=ids))
    expected = functional.cross_entropy(
        full.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=NOT_PREDICTED
    )
    by_full = gradients_of(model, expected.sum())
    with supervised_only(model, targets != NOT_PREDICTED):
        logits = logits_of(model(input_ids=ids))
    assert logits.shape == (3, VOCABULARY)
    losses, is_right = compare_tokens(logits, targets)
    torch.testing.assert_close(losses, expected[targets.flatten() != NOT_PREDICTED], atol=1e-6, rtol=1e-5)
    rows, columns = (targets != NOT_PREDICTED).nonzero(as_tuple=True)
    assert is_right.tolist() == (full[rows, columns].argmax(-1) == targets[rows, columns]).tolist()
    by_supervised = gradients_of(model, losses.sum())
    assert by_supervised.keys() == by_full.keys()
    for name, gradient in by_full.items():
        torch.testing.assert_close(by_supervised[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("architecture", "head"), [("bert", "masked"), ("gpt2", "causal")])
def test_a_batch_without_anything_to_predict_has_no_loss_and_no_gradient(architecture: str, head: str) -> None:
    model = build_language_model(architecture, head)
    ids, targets = batch_of([])
    losses, is_right, _ = predict_supervised(model, {"input_ids": ids}, targets)
    assert losses.shape == is_right.shape == (0,)
    assert losses.sum().item() == 0
    gradients = gradients_of(model, losses.sum())
    # Processes wait for the gradient of every weight.
    assert gradients.keys() == dict(model.named_parameters()).keys()
    assert all(gradient.abs().max() == 0 for gradient in gradients.values())


def test_the_model_is_itself_again_afterwards_even_after_an_error() -> None:
    model = build_language_model("bert", "masked")
    ids, targets = batch_of([(0, 1)])
    with pytest.raises(RuntimeError, match="disturbed"), supervised_only(model, targets != NOT_PREDICTED):
        raise RuntimeError("disturbed")
    assert model(input_ids=ids).logits.shape == (3, 7, VOCABULARY)


def test_a_model_wrapped_for_several_processes_is_called_not_taken_apart(tmp_path: Path) -> None:
    model = build_language_model("bert", "masked")
    ids, targets = batch_of([(1, 2)])
    alone, _, _ = predict_supervised(model, {"input_ids": ids}, targets)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        calls: list[int] = []
        wrapped.register_forward_hook(lambda *_: calls.append(1))
        losses, _, _ = predict_supervised(wrapped, {"input_ids": ids}, targets)
    finally:
        torch.distributed.destroy_process_group()
    assert calls == [1]
    torch.testing.assert_close(losses, alone)


def test_through_the_embeddings_a_classifier_scores_tokens_as_the_language_model_of_its_body() -> None:
    language_model = build_language_model("gpt2", "causal")
    assert isinstance(language_model.config, GPT2Config)
    classifier = GPT2ForSequenceClassification(language_model.config).eval()
    classifier.transformer.load_state_dict(language_model.base_model.state_dict())
    classifier.config.pad_token_id = 0
    ids, targets = batch_of([(0, 0), (2, 5)])
    hidden = classifier(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    expected, _, _ = predict_supervised(language_model, {"input_ids": ids}, targets)
    torch.testing.assert_close(compare_through_embeddings(classifier, hidden, targets), expected)
