"""Prompting: the likelihood of each label's word behind a row's prompt, against plain forward passes of transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from finetune.data import Split, TaskData
from finetune.errors import SettingError
from finetune.objectives.prompting import CONTENT_FREE, Prompting, build, calibrate
from finetune.recipe import Recipe
from finetune.records import DataRecord
from finetune.task import Part, get_task
from tests.tiny import build_sentences, load_tokenizer

LABELS = ("unacceptable", "acceptable")
TEMPLATE = "{text} It is{answer}"
# In the toy vocabulary a digit is one token, and these words are several.
ONE_TOKEN, SEVERAL_TOKENS = (
    {"unacceptable": "0", "acceptable": "1"},
    {"unacceptable": " wrong", "acceptable": " so fine"},
)


def build_rows(count: int, seed: int = 0) -> Dataset:
    rows = build_sentences(count, seed)
    return Dataset.from_dict({"text": [text for text, _ in rows], "label": [LABELS.index(label) for _, label in rows]})


def build_objective(folder: Path, *, max_length: int | None = None, **prompt: Any) -> Prompting:
    values = {
        "task": "cola",
        "model": {"checkpoint": "./x"},
        "data": {"max_length": max_length},
        "train": None,
        "evaluate": {"prompt": {"template": TEMPLATE, "answers": SEVERAL_TOKENS, **prompt}},
    }
    splits: dict[Part, Split] = {
        "train": Split("train", build_rows(60, seed=5), "", 60),
        "test": Split("test", build_rows(9), "", 9),
    }
    data = TaskData(splits, LABELS, (), DataRecord.model_construct())
    return build(
        Recipe.model_validate(values),
        get_task("cola"),
        data,
        load_tokenizer(folder),
        AutoConfig.from_pretrained(folder),
    )


@pytest.fixture(scope="session")
def long_gpt2(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GPT-2 like the tiny one whose context holds several worked examples."""
    folder = tmp_path_factory.mktemp("long-gpt2")
    tokenizer = load_tokenizer(tiny_gpt2, model_max_length=256)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(2)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=256, vocab_size=len(tokenizer), **ends)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():  # an untrained model finds all equally likely
        model.transformer.wte.weight.mul_(20)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def model(long_gpt2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(long_gpt2).eval()


def score_plainly(objective: Prompting, model: Any, text: str, answer: str, reduce: Callable) -> float:
    """Return the log likelihood of an answer's tokens after a prompt, by one forward pass over both."""
    tokenizer: Any = objective.tokenizer
    prompt = [tokenizer.bos_token_id, *tokenizer(objective.examples + objective.prompt.ask((text,)))["input_ids"]]
    tokens = tokenizer(answer)["input_ids"]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0].double().log_softmax(-1)
    return float(reduce([logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(tokens)]))


def answer_plainly(objective: Prompting, model: Any, texts: list[str], reduce: Callable) -> np.ndarray:
    scores = [
        [score_plainly(objective, model, text, word, reduce) for word in objective.prompt.answers] for text in texts
    ]
    weights = np.exp(np.array(scores))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("answers", [ONE_TOKEN, SEVERAL_TOKENS])
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("mean", [True, False])
def test_probabilities_are_those_of_plain_forward_passes(
    long_gpt2: Path, model: Any, answers: dict[str, str], shots: int, mean: bool
) -> None:
    objective = build_objective(long_gpt2, answers=answers, shots=shots, normalise_length=mean, calibrate=False)
    rows = build_rows(9)
    found = objective.answer(model, objective.encode(rows, "test"), 4)
    expected = answer_plainly(objective, model, list(rows["text"]), np.mean if mean else np.sum)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.expected.tolist() == rows["label"]
    assert len({round(row, 6) for row in found.probabilities[:, 0]}) > 4, "the model tells rows apart"


def test_length_normalisation_is_a_mean_over_the_answer_s_tokens(long_gpt2: Path, model: Any) -> None:
    rows = build_rows(4)
    mean, total = (
        build_objective(long_gpt2, normalise_length=mean, calibrate=False).answer(
            model, build_objective(long_gpt2).encode(rows, "test"), 4
        )
        for mean in (True, False)
    )
    assert np.abs(mean.probabilities - total.probabilities).max() > 0.01


@pytest.mark.parametrize("shots", [0, 2])
def test_calibration_divides_by_what_rows_without_content_get(long_gpt2: Path, model: Any, shots: int) -> None:
    objective = build_objective(long_gpt2, shots=shots)
    rows = build_rows(6)
    found = objective.answer(model, objective.encode(rows, "test"), 4)
    plain = answer_plainly(objective, model, list(rows["text"]), np.mean)
    weighed = plain / answer_plainly(objective, model, list(CONTENT_FREE), np.mean).mean(axis=0)
    np.testing.assert_allclose(found.probabilities, weighed / weighed.sum(axis=1, keepdims=True), atol=1e-5)


def test_calibration_makes_a_row_without_content_even() -> None:
    blank = np.array([[0.9, 0.1], [0.7, 0.3]])
    np.testing.assert_allclose(calibrate(blank.mean(axis=0, keepdims=True), blank), [[0.5, 0.5]])


def test_answers_do_not_depend_on_batches_or_on_a_shared_beginning(long_gpt2: Path, model: Any) -> None:
    objective = build_objective(long_gpt2, shots=2)
    features = objective.encode(build_rows(9), "test")
    whole, alone = (objective.answer(model, features, size).probabilities for size in (64, 1))
    np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_the_beginning_that_all_prompts_share_goes_through_the_model_once(long_gpt2: Path, model: Any) -> None:
    objective = build_objective(long_gpt2, shots=4, answers=ONE_TOKEN, calibrate=False)
    features = objective.encode(build_rows(9), "test")
    tokens: list[int] = []
    model.transformer.wte.register_forward_hook(lambda layer, inputs, outputs: tokens.append(inputs[0].numel()))
    objective.answer(model, features, 3)
    assert len(tokens) == 4, "one pass for the beginning, three batches of three rows"
    assert sum(tokens) < features.lengths.sum() / 2


def test_seeds_draw_other_examples_and_one_seed_the_same_for_every_row(long_gpt2: Path) -> None:
    objective = build_objective(long_gpt2, shots=4)
    assert objective.encodes_by_seed and objective.for_seed(1).examples == objective.examples
    assert len({objective.for_seed(seed).examples for seed in range(1, 6)}) == 5
    features = objective.encode(build_rows(5), "test")
    shown = objective.tokenizer(objective.examples)["input_ids"][:-1]
    for row in range(5):
        assert features[row].input_ids[1 : 1 + len(shown)].tolist() == shown
    words = [objective.examples.count(f"It is{word}\n\n") for word in objective.prompt.answers]
    assert words == [2, 2]


def test_without_worked_examples_seeds_make_no_difference(long_gpt2: Path) -> None:
    assert not build_objective(long_gpt2).encodes_by_seed


@pytest.fixture(scope="module")
def objective(tiny_gpt2: Path) -> Prompting:
    return build_objective(tiny_gpt2)


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=12))
def test_prompt_and_answer_have_the_tokens_of_the_whole(objective: Prompting, text: str) -> None:
    prompt = objective.prompt.ask((text,))
    for word, tokens in zip(objective.prompt.answers, objective.answers, strict=True):
        assert objective.tokenizer(prompt)["input_ids"] + tokens == objective.tokenizer(prompt + word)["input_ids"]


@pytest.mark.realdata
@pytest.mark.parametrize("task", ["cola", "sst2"])
def test_an_answer_keeps_its_space_under_gpt2_s_own_byte_pairs(real_data: Path, task: str) -> None:
    tokenizer, prompt = GPT2Tokenizer.from_pretrained(real_data / "tokenizers/gpt2"), get_task(task).prompt
    assert prompt is not None
    stem = prompt.template.removesuffix("{answer}").replace("{text}", "They went to the market.")
    for word in prompt.answers.values():
        tokens = tokenizer(word)["input_ids"]
        assert len(tokens) == 1
        assert tokenizer(stem + word)["input_ids"] == tokenizer(stem)["input_ids"] + tokens


def test_a_text_too_long_for_the_context_is_cut_at_its_end_and_counted(long_gpt2: Path, model: Any) -> None:
    objective = build_objective(long_gpt2, max_length=60)
    rows = Dataset.from_dict({"text": ["The dog walks. " * 30, "dog"], "label": [1, 0]})
    features = objective.encode(rows, "test")
    longest = max(map(len, objective.answers))
    assert features.truncated == 1 and 60 - 4 - longest <= features.lengths[0] <= 60 - longest
    shown = str(objective.tokenizer.decode(features[0].input_ids[1:]))
    assert shown.startswith("The dog walks. The dog") and shown.endswith(" It is")
    assert np.isfinite(objective.answer(model, features, 4).probabilities).all()


def test_of_a_pair_the_longer_text_is_cut_first(long_gpt2: Path) -> None:
    objective = build_objective(long_gpt2, max_length=60)
    prompt = objective.prompt
    pair = Prompting(
        objective.tokenizer,
        type(prompt)("{text} and {text_pair} is", prompt.answers, "\n"),
        objective.settings,
        LABELS,
        60,
        None,
        1,
    )
    rows = Dataset.from_dict({"text": ["The dog walks. " * 30], "text_pair": ["a red bird sings"], "label": [1]})
    assert "a red bird sings is" in objective.tokenizer.decode(pair.encode(rows, "test")[0].input_ids)


def test_worked_examples_take_an_equal_share_of_the_context_at_most(long_gpt2: Path) -> None:
    objective = build_objective(long_gpt2, shots=4, max_length=200)
    for shown in objective.examples.split("\n\n")[:-1]:
        assert len(objective.tokenizer(shown + "\n\n")["input_ids"]) <= 40
    with pytest.raises(SettingError, match=r"evaluate\.prompt\.shots: found 8, for which 4 labelled"):
        _ = build_objective(long_gpt2, shots=8, max_length=60).examples


def test_a_prompt_longer_than_the_context_without_any_text_is_refused(long_gpt2: Path) -> None:
    with pytest.raises(SettingError, match="a prompt without its text takes"):
        build_objective(long_gpt2, max_length=10).encode(build_rows(2), "test")


def test_only_a_causal_model_that_is_not_trained_is_asked(tiny_bert: Path, tiny_gpt2: Path) -> None:
    with pytest.raises(
        SettingError, match=r"evaluate\.prompt: a causal language model such as GPT-2 is needed, found .* bert"
    ):
        build_objective(tiny_bert)
    recipe = {"model": {"checkpoint": "./x"}, "evaluate": {"prompt": {"shots": 2}}}
    tokenizer, config = load_tokenizer(tiny_gpt2), AutoConfig.from_pretrained(tiny_gpt2)
    data = TaskData({}, LABELS, (), DataRecord.model_construct())
    for changes, message in (
        ({"task": "cola"}, "state train: null"),
        ({"task": "cola", "train": None}, "2 worked examples need train rows"),
        ({"task": "sick-relatedness", "train": None}, "a prompt asks for labels; task sick-relatedness is regression"),
    ):
        built = Recipe.model_validate({**recipe, **changes})
        with pytest.raises(SettingError, match=message):
            build(built, get_task(built.task), data, tokenizer, config)
