"""Minimal pairs and the likelihood of sentences, against transformers' own loss and a loop over single masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    PreTrainedTokenizerBase,
)

from finetune import token_likelihoods
from finetune.data import TaskData
from finetune.errors import InvalidResultError, SettingError
from finetune.objectives.minimal_pairs import MinimalPairs, build
from finetune.recipe import Recipe
from finetune.records import DataRecord
from finetune.sentence_likelihood import CausalQueries, Likelihood, encode_sentences, score_sentences
from finetune.task import get_task
from finetune.token_likelihoods import ask_tokens
from tests.tiny import load_tokenizer

TEXTS = [
    "The dog walks.",
    "A cat sees the small bird in the garden",
    "dog",
    "",
    "The old horse often sings on the road!",
]


def load(folder: Path, kind: Any) -> tuple[Any, Any]:
    torch.manual_seed(1)
    return kind.from_pretrained(folder).eval(), load_tokenizer(folder)


def score(model: Any, tokenizer: PreTrainedTokenizerBase, texts: list[str], batch_size: int = 4) -> list[Likelihood]:
    causal = "LMHead" in type(model).__name__
    features = encode_sentences(texts, tokenizer, 64, causal=causal)
    return score_sentences(model, tokenizer, features, batch_size, causal=causal)


def test_a_causal_likelihood_is_transformers_own_loss_summed(tiny_gpt2: Path) -> None:
    model, tokenizer = load(tiny_gpt2, AutoModelForCausalLM)
    for text, found in zip(TEXTS, score(model, tokenizer, TEXTS), strict=True):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]])
        assert found.tokens == ids.shape[1] - 1
        expected = -model(input_ids=ids, labels=ids).loss.item() * found.tokens if found.tokens else 0.0
        assert found.log_likelihood == pytest.approx(expected, rel=1e-5)
        assert found.perplexity == pytest.approx(np.exp(-expected / max(found.tokens, 1)), rel=1e-5)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("tiny_bert", AutoModelForMaskedLM),
        ("tiny_bert", AutoModelForPreTraining),
        ("tiny_roberta", AutoModelForMaskedLM),
        ("tiny_distilbert", AutoModelForMaskedLM),
    ],
)
def test_a_pseudo_likelihood_is_a_loop_over_single_masks(
    family: str, kind: Any, request: pytest.FixtureRequest
) -> None:
    model, tokenizer = load(request.getfixturevalue(family), kind)
    for text, found in zip(TEXTS, score(model, tokenizer, TEXTS), strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        total = 0.0
        for place in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            outputs = model(input_ids=masked)
            logits = outputs.prediction_logits if kind is AutoModelForPreTraining else outputs.logits
            total += logits[0, place].log_softmax(-1)[ids[0, place]].item()
        assert found.tokens == ids.shape[1] - 2
        assert found.log_likelihood == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_bert"])
def test_likelihoods_do_not_depend_on_how_rows_are_batched(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = AutoModelForCausalLM if family == "tiny_gpt2" else AutoModelForMaskedLM
    model, tokenizer = load(request.getfixturevalue(family), kind)
    whole = [found.log_likelihood for found in score(model, tokenizer, TEXTS, 64)]
    alone = [found.log_likelihood for found in score(model, tokenizer, TEXTS, 1)]
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
    # A table of logits that holds a few rows only is made in several passes.
    monkeypatch.setattr(token_likelihoods, "LOGITS_A_FORWARD", 20 * model.config.vocab_size)
    np.testing.assert_allclose([found.log_likelihood for found in score(model, tokenizer, TEXTS, 64)], whole, rtol=1e-5)


def test_a_sentence_longer_than_the_context_is_cut_and_counted(tiny_gpt2: Path, tiny_bert: Path) -> None:
    for folder, causal in ((tiny_gpt2, True), (tiny_bert, False)):
        tokenizer = load_tokenizer(folder)
        features = encode_sentences(["dog " * 100, "dog"], tokenizer, 64, causal=causal)
        assert features.lengths[0] == 64 and features.truncated == 1


def build_objective(folder: Path, **changes: Any) -> MinimalPairs:
    values = {"task": "blimp", "model": {"checkpoint": "./x"}, "train": None, **changes}
    data = TaskData({}, ("first", "second"), (), DataRecord.model_construct())
    tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    return build(Recipe.model_validate(values), get_task("blimp"), data, tokenizer, config)


def build_pairs() -> Dataset:
    firsts = ["The dog walks.", "A bird sings in the house", "the red cat", "same words"]
    seconds = ["The dog walk.", "A bird sing in the house", "cat red the", "same words"]
    return Dataset.from_dict({"text": firsts, "text_pair": seconds, "label": [0, 0, 1, 0]})


@pytest.mark.parametrize(
    ("family", "kind"),
    [("tiny_gpt2", AutoModelForCausalLM), ("tiny_roberta", AutoModelForMaskedLM), ("tiny_bert", AutoModelForMaskedLM)],
)
def test_the_likelier_sentence_is_the_answer_and_equal_ones_tie(
    family: str, kind: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    objective, (model, tokenizer), pairs = build_objective(folder), load(folder, kind), build_pairs()
    assert objective.model_class == kind.__name__
    answers = objective.answer(model, objective.encode(pairs, "test"), 4)
    first, second = (
        np.array([found.log_likelihood for found in score(model, tokenizer, list(pairs[column]))])
        for column in ("text", "text_pair")
    )
    np.testing.assert_allclose(answers.probabilities[:, 0], 1 / (1 + np.exp(second - first)), rtol=1e-4)
    assert answers.probabilities[3].tolist() == [0.5, 0.5]
    assert answers.expected.tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(answers.predicted[:3], (second > first)[:3])


def test_features_of_pairs_line_up_with_rows(tiny_bert: Path) -> None:
    objective, pairs = build_objective(tiny_bert), build_pairs()
    features = objective.encode(pairs, "test")
    tokens = [
        [len(objective.tokenizer(text)["input_ids"]) for text in pairs[column]] for column in ("text", "text_pair")
    ]
    assert len(features) == 4 and features.lengths.tolist() == np.sum(tokens, axis=0).tolist()
    assert [len(features[row].input_ids) for row in range(4)] == features.lengths.tolist()
    assert features[2].label == 1


def test_a_model_is_asked_as_it_is_and_needs_a_vocabulary(tiny_gpt2: Path, tiny_bert: Path) -> None:
    with pytest.raises(SettingError, match="state train: null"):
        build_objective(tiny_gpt2, train={})
    config = AutoConfig.for_model("vit")
    with pytest.raises(SettingError, match="a language model is needed, and architecture vit has none"):
        build(
            Recipe.model_validate({"task": "blimp", "model": {"checkpoint": "./x"}, "train": None}),
            get_task("blimp"),
            TaskData({}, (), (), DataRecord.model_construct()),
            load_tokenizer(tiny_bert),
            config,
        )


def test_an_output_that_is_not_finite_is_refused(tiny_gpt2: Path) -> None:
    model, tokenizer = load(tiny_gpt2, AutoModelForCausalLM)
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))
    with pytest.raises(InvalidResultError, match="not finite on 4 of 4 rows"):
        score(model, tokenizer, TEXTS)


def test_processes_share_the_rows_out_and_none_is_asked_twice(tiny_gpt2: Path) -> None:
    model, tokenizer = load(tiny_gpt2, AutoModelForCausalLM)
    queries = CausalQueries(encode_sentences(TEXTS, tokenizer, 64, causal=True))
    whole = ask_tokens(model, queries, queries.lengths, 1)
    shares = [ask_tokens(model, queries, queries.lengths, 1, process=process, processes=2) for process in (0, 1)]
    assert sorted(float(values.sum()) for share in shares for values in share) == sorted(map(np.sum, whole))
