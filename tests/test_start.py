"""What a run starts from: a checkpoint that fits its task, or the outline of a network in the shape that was asked for."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.checkpoint import Checkpoint, find_checkpoint, open_checkpoint
from finetune.data import TaskData, load_data
from finetune.errors import DataError, FinetuneError, MissingInputError, SettingError, UnavailableError
from finetune.features import choose_max_length
from finetune.model import CLASSIFIER, count_parameters, label_names_of, load_fitted, load_model, save_model
from finetune.objective import Objective
from finetune.recipe import Recipe
from finetune.recipe_sections import ModelSettings
from finetune.start import Start, find_start, load_config, open_start
from finetune.task import get_task

LABELS = ("acceptable", "unacceptable")
ROBERTA = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SMALL: dict[str, dict[str, Any]] = {
    "bert": ROBERTA,
    "roberta": {**ROBERTA, "max_position_embeddings": 66, "type_vocab_size": 1},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
}
MASKED, CAUSAL = "AutoModelForMaskedLM", "AutoModelForCausalLM"


@dataclass(frozen=True)
class Asks:
    """An objective that only says which head it asks."""

    model_class: str
    problem_type: str | None = None
    measures_start: bool = False

    def encode(self, examples: Any, part: Any) -> Any:
        raise NotImplementedError

    def answer(self, model: Any, features: Any, batch_size: int, *, process: int = 0, processes: int = 1) -> Any:
        raise NotImplementedError


CLASSES = Asks(CLASSIFIER, "single_label_classification")
NUMBERS = Asks(CLASSIFIER, "regression")
LABEL_SETS = Asks(CLASSIFIER, "multi_label_classification")


def recipe_of(model: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "task": "text-classification",
            "model": model,
            "data": {"path": "rows.csv", "columns": {"text": "text", "label": "label"}},
        }
    )


@pytest.fixture
def data(own_file: Path) -> TaskData:
    """Return 200 rows, 180 of them train."""
    recipe = recipe_of({"checkpoint": "./none"})
    return load_data(recipe, get_task(recipe.task))


def start_of(data: TaskData, task: str = "text-classification", **model: Any) -> Start:
    return find_start(recipe_of(model), get_task(task), data)


def from_scratch(data: TaskData, architecture: str, task: str = "text-classification", **model: Any) -> Start:
    shape = {**SMALL[architecture], **model.pop("shape", {})}
    settings = {"tokenizer": {"vocabulary": 300}, "architecture": architecture, **model}
    return start_of(data, task, init="scratch", shape=shape, **settings)


def checkpoint_of(folder: Path) -> Checkpoint:
    return find_checkpoint(ModelSettings(checkpoint=str(folder)))


def load(start: Start, objective: Objective, labels: Sequence[str] = (), seed: int = 1, **options: bool) -> Any:
    torch.manual_seed(seed)
    return load_model(start, objective, labels, **options)


# Figures that the publishers state, or that their files hold: BERT-base, RoBERTa-base, DistilBERT, GPT-2 small.
@pytest.mark.parametrize(
    ("architecture", "shape", "objective", "parameters"),
    [
        ("bert", {}, CLASSES, 109_483_778),
        ("bert", {}, NUMBERS, 109_483_009),
        ("bert", {}, Asks(MASKED), 109_514_298),
        ("bert", {}, Asks("AutoModelForPreTraining"), 110_106_428),
        ("roberta", {"max_position_embeddings": 514, "type_vocab_size": 1, "vocab_size": 50_265}, CLASSES, 124_647_170),
        ("distilbert", {}, CLASSES, 66_955_010),
        ("gpt2", {}, Asks(CAUSAL), 124_439_808),
    ],
)
def test_published_parameter_counts_are_met(
    architecture: str, shape: dict[str, int], objective: Asks, parameters: int
) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(architecture, **shape)
    start = Start(architecture, "", config, None, None)  # type: ignore[arg-type]
    assert count_parameters(start, objective, LABELS if objective is CLASSES else ()) == parameters


def test_kantaibert_has_the_83_504_416_parameters_of_the_book() -> None:
    """The figure is the sum over its parts too; the vocabulary's matrix is tied to the embeddings and counts once."""
    from transformers import RobertaConfig

    config = RobertaConfig(
        vocab_size=52_000,
        hidden_size=768,
        num_hidden_layers=6,
        num_attention_heads=12,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    embeddings = 52_000 * 768 + 514 * 768 + 768 + 2 * 768
    layer = 4 * (768**2 + 768) + (768 * 3072 + 3072) + (3072 * 768 + 768) + 2 * 2 * 768
    head = 768**2 + 768 + 2 * 768 + 52_000
    start = Start("roberta", "", config, None, None)  # type: ignore[arg-type]
    assert count_parameters(start, Asks(MASKED), ()) == embeddings + 6 * layer + head == 83_504_416


@pytest.mark.parametrize("architecture", list(SMALL))
def test_counted_parameters_are_those_of_the_drawn_model(data: TaskData, architecture: str) -> None:
    start = from_scratch(data, architecture)
    for objective in (CLASSES, Asks(CAUSAL if architecture == "gpt2" else MASKED)):
        assert count_parameters(start, objective, LABELS) == load(start, objective, LABELS).model.num_parameters()


@pytest.mark.parametrize("architecture", list(SMALL))
def test_a_model_from_scratch_is_drawn_from_the_seed_and_saved_whole(
    data: TaskData, architecture: str, tmp_path: Path
) -> None:
    start, objective = from_scratch(data, architecture), Asks(CAUSAL if architecture == "gpt2" else MASKED)
    drawn, same, other = (load(start, objective, seed=seed) for seed in (1, 1, 2))
    weights = drawn.model.state_dict()
    assert all(torch.equal(values, same.model.state_dict()[name]) for name, values in weights.items())
    assert any(not torch.equal(values, other.model.state_dict()[name]) for name, values in weights.items())
    assert drawn.notes[-1] == "all weights are drawn from the seed"
    assert start.checkpoint is None and start.sha256 == "" and start.name == f"{architecture}, from scratch"
    save_model(drawn, tmp_path / "model")
    again = load_fitted(open_checkpoint(tmp_path / "model", "it"), objective.model_class)
    assert all(torch.equal(values, again.model.state_dict()[name]) for name, values in weights.items())
    assert again.tokenizer.get_vocab() == drawn.tokenizer.get_vocab()
    assert again.model.get_output_embeddings().weight is again.model.get_input_embeddings().weight


@pytest.mark.parametrize("architecture", list(SMALL))
def test_configuration_and_longest_input_follow_tokenizer_and_positions(data: TaskData, architecture: str) -> None:
    start = from_scratch(data, architecture)
    config, tokenizer = start.config, start.tokenizer
    assert (config.pad_token_id, config.vocab_size) == (tokenizer.pad_token_id, len(tokenizer))
    if architecture in ("roberta", "gpt2"):
        assert (config.bos_token_id, config.eos_token_id) == (0, 2)
        assert tokenizer.model_max_length == 64 == choose_max_length(None, config, tokenizer)


def test_both_vocabularies_are_told_where_the_model_s_is_stated(data: TaskData) -> None:
    start = from_scratch(data, "roberta", shape={"vocab_size": 400})
    assert (len(start.tokenizer), start.config.vocab_size) == (300, 400)
    assert start.notes == ("tokenizer 300 of at most 300 entries; model 400",)


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(data: TaskData) -> None:
    with pytest.raises(SettingError, match=r"model.shape.vocab_size: found 299, but the tokenizer has 300 entries"):
        from_scratch(data, "roberta", shape={"vocab_size": 299})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"hiden_size": 32}, "model.shape.hiden_size: roberta has no such field to set; did you mean 'hidden_size'"),
        ({"pad_token_id": 0}, "model.shape.pad_token_id: roberta has no such field to set"),
        ({"is_decoder": True}, "model.shape.is_decoder: roberta has no such field"),
        ({"hidden_size": "big"}, "model.shape.hidden_size: found 'big', expected is a value such as the default, 768"),
        ({"hidden_size": 1.5}, "model.shape.hidden_size: found 1.5, expected is a value such as"),
        ({"num_hidden_layers": 0}, "model.shape.num_hidden_layers: found 0, allowed is 1 or more"),
    ],
)
def test_a_shape_that_is_none_is_refused(data: TaskData, shape: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        from_scratch(data, "roberta", shape=shape)


@pytest.mark.parametrize(
    "shape", [{"hidden_size": 33}, {"hidden_act": "nothing"}, {"hidden_dropout_prob": 2.0}, {"num_attention_heads": 64}]
)  # fmt: skip
def test_a_shape_that_no_model_can_have_is_found_without_drawing_one(data: TaskData, shape: dict[str, Any]) -> None:
    start = from_scratch(data, "roberta", shape=shape)
    with pytest.raises(SettingError, match="model.shape: roberta, from scratch: no model can be of this shape"):
        count_parameters(start, CLASSES, LABELS)


def test_the_names_of_either_family_of_fields_set_the_shape(data: TaskData) -> None:
    config: Any = from_scratch(data, "gpt2", shape={"num_hidden_layers": 3}).config
    assert config.n_layer == 3


def test_from_scratch_a_checkpoint_gives_its_outline_and_its_weights_are_not_read(
    data: TaskData, tiny_bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "outline")
    (tmp_path / "outline/model.safetensors").write_bytes(b"no weights")
    kept = start_of(data, checkpoint=str(tmp_path / "outline"), init="scratch")
    (tmp_path / "outline/model.safetensors").unlink()
    start = start_of(data, checkpoint=str(tmp_path / "outline"), init="scratch", shape={"num_hidden_layers": 1})
    own = open_start(checkpoint_of(tiny_bert))
    assert start.tokenizer.get_vocab() == kept.tokenizer.get_vocab() == own.tokenizer.get_vocab()
    assert (start.config.num_hidden_layers, kept.config.num_hidden_layers) == (1, 2)
    assert count_parameters(kept, CLASSES, LABELS) == count_parameters(own, CLASSES, LABELS)
    assert not torch.equal(
        load(kept, CLASSES, LABELS).model.get_input_embeddings().weight,
        load(own, CLASSES, LABELS).model.get_input_embeddings().weight,
    )


def test_a_half_precision_outline_is_drawn_in_32_bit_floats(data: TaskData, tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "half")
    path = tmp_path / "half/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": "float16"}))
    loaded = load(start_of(data, checkpoint=str(tmp_path / "half"), init="scratch"), CLASSES, LABELS)
    assert {weights.dtype for weights in loaded.model.parameters()} == {torch.float32}


def test_a_tokenizer_may_be_that_of_a_folder(data: TaskData, tiny_roberta: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "own").mkdir(exist_ok=True)
        shutil.copy(tiny_roberta / name, tmp_path / "own" / name)
    start = from_scratch(data, "gpt2", tokenizer=str(tmp_path / "own"))
    assert start.tokenizer.get_vocab() == open_start(checkpoint_of(tiny_roberta)).tokenizer.get_vocab()
    assert start.notes == (f"tokenizer {len(start.tokenizer)} entries; model {len(start.tokenizer)}",)
    with pytest.raises(MissingInputError, match="model.tokenizer: no folder ./gone"):
        from_scratch(data, "gpt2", tokenizer="./gone")
    with pytest.raises(UnavailableError, match="model nobody/nothing: it is not"):
        from_scratch(data, "gpt2", tokenizer="nobody/nothing")


def test_a_bare_vocabulary_is_read_as_the_architecture_s(data: TaskData, tmp_path: Path) -> None:
    """As Google and OpenAI published theirs: vocab.txt, or vocab.json with merges.txt, and nothing else."""
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ndog\n##s\n")
    start = from_scratch(data, "bert", tokenizer=str(tmp_path / "bert"))
    assert start.tokenizer.tokenize("The dogs") == ["the", "dog", "##s"] and start.config.vocab_size == 8
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2/vocab.json").write_text(json.dumps({"d": 0, "o": 1, "g": 2, "do": 3, "<|endoftext|>": 4}))
    (tmp_path / "gpt2/merges.txt").write_text("#version: 0.2\nd o\n")
    assert from_scratch(data, "gpt2", tokenizer=str(tmp_path / "gpt2")).tokenizer.tokenize("dog") == ["do", "g"]
    with pytest.raises(DataError, match="the folder holds no vocabulary that a BertTokenizer can read"):
        from_scratch(data, "bert", tokenizer=str(tmp_path / "gpt2"))


def test_a_pad_token_beyond_roberta_s_positions_is_refused(data: TaskData, tmp_path: Path) -> None:
    letters = {chr(0x100 + number): number for number in range(100)}
    (tmp_path / "vocab.json").write_text(json.dumps(letters))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(
        SettingError, match=r"model.tokenizer: its pad token has the id 10\d, from which roberta counts"
    ):
        from_scratch(data, "roberta", tokenizer=str(tmp_path))


def test_a_tokenizer_can_not_be_trained_where_there_are_no_train_rows(data: TaskData) -> None:
    without = TaskData(**{**vars(data), "splits": {"test": data.splits["test"]}})
    with pytest.raises(SettingError, match="model.tokenizer: it is trained on the train rows, and there are none"):
        from_scratch(without, "gpt2")


def test_a_gpt_for_masks_and_a_bert_for_completion_are_refused_by_name(
    data: TaskData, tiny_bert: Path, tiny_gpt2: Path
) -> None:
    with pytest.raises(
        SettingError, match=r"model.checkpoint: .*tiny-gpt2.* \(gpt2\) reads from left to right.*masked-lm needs"
    ):
        start_of(data, "masked-lm", checkpoint=str(tiny_gpt2))
    with pytest.raises(
        SettingError, match=r"model.checkpoint: .*tiny-bert.* \(bert\) fills masks.*task causal-lm needs"
    ):
        start_of(data, "causal-lm", checkpoint=str(tiny_bert))
    with pytest.raises(SettingError, match=r"model.architecture: gpt2, from scratch \(gpt2\) reads from left to right"):
        from_scratch(data, "gpt2", "masked-lm")


@pytest.mark.parametrize("task", ["masked-lm", "wikitext2-pretraining"])
def test_a_tokenizer_without_a_mask_is_refused_where_masks_are_learnt(
    data: TaskData, tiny_bert: Path, tiny_gpt2: Path, task: str
) -> None:
    with pytest.raises(SettingError, match=f"its tokenizer has no mask token, which task {task} needs"):
        start_of(data, task, checkpoint=str(tiny_bert), init="scratch", tokenizer=str(tiny_gpt2))


def test_a_tokenizer_without_any_token_to_pad_with_is_refused(data: TaskData, tiny_gpt2: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_gpt2, tmp_path / "bare")
    path = tmp_path / "bare/tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(
        json.dumps({**settings, "eos_token": None, "unk_token": None, "bos_token": None, "pad_token": None})
    )
    with pytest.raises(DataError, match="neither a pad, an end nor an unknown token"):
        start_of(data, checkpoint=str(tmp_path / "bare"))


def test_an_architecture_without_the_head_is_refused(tiny_gpt2: Path) -> None:
    start = open_start(checkpoint_of(tiny_gpt2))
    for find in (count_parameters, load_model):
        with pytest.raises(SettingError, match="architecture gpt2 has no next-sentence head in transformers"):
            find(start, Asks("AutoModelForNextSentencePrediction"), ("IsNext", "NotNext"))


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_a_missing_vocabulary_head_is_drawn_for_training_and_refused_without(
    family: str, request: pytest.FixtureRequest
) -> None:
    start = open_start(checkpoint_of(request.getfixturevalue(f"tiny_{family}")))
    loaded = load(start, Asks(MASKED))
    (note,) = [note for note in loaded.notes if note.startswith("new weights, drawn from the seed: ")]
    assert "embeddings" not in note and "encoder" not in note
    # The matrix itself is that of the embeddings, and so isn't new.
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    with pytest.raises(
        DataError, match=r"it has no masked-language-model head, .*fine-tune one first \(task masked-lm\)"
    ):
        load(start, Asks(MASKED), may_draw_head=False)


def test_gpt2_brings_its_vocabulary_head(tiny_gpt2: Path) -> None:
    start = open_start(checkpoint_of(tiny_gpt2))
    assert load(start, Asks(CAUSAL), may_draw_head=False).notes == ("the head of the checkpoint is kept",)


def test_a_body_with_missing_weights_is_refused_for_every_head(tiny_bert: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tiny_bert, tmp_path / "part")
    weights = {
        name: values for name, values in load_file(tiny_bert / "model.safetensors").items() if "layer.1" not in name
    }
    save_file(weights, tmp_path / "part/model.safetensors", {"format": "pt"})
    start = open_start(checkpoint_of(tmp_path / "part"))
    for objective in (CLASSES, Asks(MASKED), Asks("AutoModelForPreTraining")):
        with pytest.raises(DataError, match="weights of the architecture are missing, bert.encoder.layer.1"):
            load(start, objective, LABELS)


def fitted(start: Start, objective: Asks, labels: Sequence[str], folder: Path) -> Start:
    """Return the start that a saved model of an objective is."""
    save_model(load(start, objective, labels, seed=5), folder)
    return open_start(checkpoint_of(folder))


def test_a_head_is_kept_for_the_same_question_about_the_same_labels_alone(tiny_bert: Path, tmp_path: Path) -> None:
    start = open_start(checkpoint_of(tiny_bert))
    classes = fitted(start, CLASSES, LABELS, tmp_path / "classes")
    numbers = fitted(start, NUMBERS, (), tmp_path / "numbers")
    assert load(classes, CLASSES, LABELS).notes == ("the head of the checkpoint is kept",)
    assert load(numbers, NUMBERS, (), may_draw_head=False).notes == ("the head of the checkpoint is kept",)
    # Its head has two outputs as well, and so would fit.
    other = load(classes, LABEL_SETS, LABELS)
    assert other.notes == ("the checkpoint's head was fitted to other labels; a new one is drawn from the seed",)
    assert other.model.config.problem_type == "multi_label_classification"
    with pytest.raises(DataError, match="its head was fitted to another problem, single_label_classification"):
        load(classes, LABEL_SETS, LABELS, may_draw_head=False)
    with pytest.raises(DataError, match=r"its labels are acceptable, unacceptable in this order.*state data.labels"):
        load(classes, CLASSES, LABELS[::-1])
    assert any(note.startswith("new weights") for note in load(numbers, CLASSES, LABELS).notes)


def test_a_regression_has_one_output_and_a_classifier_one_a_label(tiny_bert: Path) -> None:
    start = open_start(checkpoint_of(tiny_bert))
    assert load(start, NUMBERS).model.classifier.out_features == 1
    sets = load(start, LABEL_SETS, ("a", "b", "c")).model
    assert sets.classifier.out_features == 3 and label_names_of(sets.config) == ["a", "b", "c"]
    assert label_names_of(start.config) == ["LABEL_0", "LABEL_1"], "what all seeds share stays as it was"


def test_a_run_that_is_not_there_is_refused_with_the_command_that_makes_it(data: TaskData) -> None:
    with pytest.raises(MissingInputError, match="no folder runs/mlm/latest; make it first: finetune run mlm"):
        start_of(data, checkpoint="runs/mlm/latest")


def test_damaged_outlines_are_refused(data: TaskData, tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "odd")
    for content in ("{", '{"model_type": "no such"}', "{}"):
        (tmp_path / "odd/config.json").write_text(content)
        with pytest.raises(FinetuneError, match="config.json can't be used"):
            start_of(data, checkpoint=str(tmp_path / "odd"), init="scratch")


def test_a_tokenizer_is_trained_for_known_architectures_alone(data: TaskData, tmp_path: Path) -> None:
    from transformers import OPTConfig

    OPTConfig(vocab_size=300, hidden_size=32).save_pretrained(tmp_path / "opt")
    with pytest.raises(
        SettingError, match="one can be trained for bert, roberta, distilbert, gpt2; found architecture opt"
    ):
        start_of(data, checkpoint=str(tmp_path / "opt"), init="scratch", tokenizer={"vocabulary": 300})
    assert load_config(Checkpoint(tmp_path / "opt", "opt", "")).model_type == "opt"
