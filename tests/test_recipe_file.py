"""Recipes on disk: found, extended, overridden, and every problem named with its place."""

import os
import time
from pathlib import Path

import pytest

from finetune.errors import MissingInputError, PermissionDeniedError, RecipeError, UsageError
from finetune.recipe import Recipe
from finetune.recipe_file import list_recipes, load_recipe
from finetune.resolved import render_origins, write_resolved_recipe

LEAST = "task: cola\nmodel: {checkpoint: google-bert/bert-base-uncased}\n"


def problems(path: Path, text: str, *overrides: str) -> list[str]:
    """Return the problems of a recipe with this text."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value.problems


def load(path: Path, text: str, *overrides: str) -> Recipe:
    """Return the recipe with this text."""
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, overrides).recipe


@pytest.fixture
def path(work: Path) -> Path:
    return work / "r.yaml"


def test_misspelt_key_names_the_nearest_valid_one(path: Path) -> None:
    found = problems(path, LEAST + "train:\n  learning_rte: 1\n")
    assert found == [f"{path}:4: train.learning_rte: unknown key; did you mean 'learning_rate'?"]


def test_all_problems_of_a_file_come_at_once_in_the_order_of_their_lines(path: Path) -> None:
    found = problems(path, "task: colla\nmodel: {}\ntrain:\n  epochs: three\n  batch_size: -4\nsedes: 3\n")
    assert [problem.split(": ")[0] for problem in found] == [f"{path}:{line}" for line in (1, 2, 4, 5, 6)]
    assert [problem.split(": ")[1] for problem in found] == [
        "task",
        "model",
        "train.epochs",
        "train.batch_size",
        "sedes",
    ]


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(path: Path) -> None:
    assert "it belongs at train.learning_rate" in problems(path, LEAST + "learning_rate: 1e-5\n")[0]


def test_a_duplicate_key_names_both_lines(path: Path) -> None:
    assert problems(path, LEAST + "note: a\nnote: b\n") == [f"{path}:4: note: stands twice, first in line 3"]


@pytest.mark.parametrize(
    ("text", "value"), [("2e-5", 2e-5), ("1e-5", 1e-5), ("3.0e-05", 3e-5), ("0.001", 0.001), ("1", 1.0)]
)
def test_learning_rates_are_numbers_however_they_are_written(path: Path, text: str, value: float) -> None:
    train = load(path, LEAST + f"train: {{learning_rate: {text}}}\n").train
    assert train is not None
    assert train.learning_rate == value


@pytest.mark.parametrize("text", ["1,5e-5", '"fast"', ".nan", ".inf", "-1", "0", "1e20", "true", '"1e-5"', "[1]"])
def test_a_learning_rate_that_is_none_is_refused(path: Path, text: str) -> None:
    assert "train.learning_rate: found" in problems(path, LEAST + f"train:\n  learning_rate: {text}\n")[0]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "true", "1_000", "1:30", "010", "three", "1.0"])
def test_epochs_are_whole_numbers_as_written(path: Path, text: str) -> None:
    found = problems(path, LEAST + f"train:\n  epochs: {text}\n")[0]
    assert found.startswith(f"{path}:4: train.epochs: found")
    assert text in found


@pytest.mark.parametrize(("text", "seeds"), [("3", [1, 2, 3]), ("[7]", [7]), ("[5, 2]", [5, 2]), ("1", [1])])
def test_seeds_are_a_count_or_a_list(path: Path, text: str, seeds: list[int]) -> None:
    assert load(path, LEAST + f"seeds: {text}\n").seeds == seeds
    assert load(path, LEAST, f"seeds={text}").seeds == seeds


@pytest.mark.parametrize("text", ["0", "-1", "[]", "[1, 1]", "[-1]", "two", "true", "5000", "[1.5]"])
def test_seeds_that_make_no_sense_are_refused(path: Path, text: str) -> None:
    assert "seeds" in problems(path, LEAST + f"seeds: {text}\n")[0].split(": found")[0]


def test_words_that_yaml_1_1_turned_into_booleans_stay_text(path: Path) -> None:
    assert load(path, LEAST + "note: no\n").note == "no"
    assert "'no'" in problems(path, "task: no\nmodel: {checkpoint: a/b}\n")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the recipe is empty"),
        ("# only a comment\n", "the recipe is empty"),
        ("- a\n", "a mapping"),
        ("just text\n", "a mapping"),
        ("3\n", "a mapping"),
        ("a: &x 1\nb: *x\n", "anchors are not allowed"),
        ("a: !!python/object:os.system 1\n", "tags are not allowed"),
        ("a: 1\n---\nb: 2\n", "one document expected"),
        ("a: [1\n", "not valid YAML"),
        ("\ta: 1\n", "not valid YAML"),
        ("a: " + "[" * 5000, "levels deep"),
        ("a: " + '{"b":' * 5000, "levels deep"),
        ("- " * 5000, "levels deep"),
        ("a: " + "[" * 60 + "]" * 60, "levels deep"),
        ("? [a]\n: 1\n", "a key must be text"),
        ("a: 1\n" * 20_000, "larger than 64 KB"),
        ("<<: 3\n", "unknown key"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(path: Path, text: str, message: str) -> None:
    found = problems(path, text)
    assert message in "; ".join(found)
    assert all(problem.startswith(str(path)) and "\n" not in problem.replace("\n  ", " ") for problem in found)


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 65_000, *("".join(f"k{n}: {value}\n" for n in range(5000)) for value in ("1", "[1]", "{a: 1}"))],
)
def test_a_recipe_of_any_text_up_to_64_kb_is_refused_soon_with_the_first_twenty_problems(path: Path, text: str) -> None:
    began = time.process_time()
    found = problems(path, text)
    assert time.process_time() - began < 5.0
    assert len(found) == 1 or (len(found) == 21 and found[-1].endswith("and more; these are the first"))


def test_names_of_any_length_make_no_long_lines(path: Path) -> None:
    long = "x" * 3000
    for text, overrides in (
        (f"extends: {long}\n", ()),
        (LEAST + f"{long}: 1\n", ()),
        (f"task: {long}\n", ()),
        (LEAST, (long, f"train.{long}=1", f"{long}1=[", f"{long}2=")),
    ):
        assert all(len(problem) <= 1000 for problem in problems(path, text, *overrides))


TOKEN = "hf_" + "a1B2" * 8


@pytest.mark.parametrize(
    ("text", "overrides", "place"),
    [
        (LEAST + f"note: see {TOKEN}\n", [], ":3: note"),
        (LEAST + f"data:\n  labels: [a, {TOKEN}]\n", [], ":4: data.labels.1"),
        (LEAST + f"train: {{extra: {{{TOKEN}: 1}}}}\n", [], ":3: train.extra"),
        (LEAST, [f"note={TOKEN}"], "command line: note"),
        (LEAST + f"seeds: {TOKEN}\n", [], ":3: seeds"),
    ],
)
def test_a_secret_in_a_recipe_is_refused_and_not_repeated(
    path: Path, text: str, overrides: list[str], place: str
) -> None:
    (found,) = problems(path, text, *overrides)
    assert place in found and "secrets do not belong in recipes" in found and TOKEN[3:] not in found


@pytest.mark.parametrize("key", ["token", "hub_token", "API_KEY", "wandb_api_key", "password"])
def test_a_key_for_a_secret_is_refused_as_one(path: Path, key: str) -> None:
    assert "secrets do not belong in recipes" in problems(path, LEAST + f"{key}: x\n")[0]


def test_words_that_look_a_little_like_secrets_are_none(path: Path) -> None:
    assert load(path, LEAST + "note: sk-learn-like, hf_xxx, ghp_1\n").note


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/x.csv", "https://example.org/x.csv", "s3://a/x.csv", "file:///etc/passwd"]
)
def test_rows_are_fetched_from_no_address(path: Path, address: str) -> None:
    for stated in (address, f"{{train: {address}}}"):
        found = problems(path, LEAST + f"data:\n  path: {stated}\n")[0]
        assert f"{path}:4: data.path" in found and address in found and "only files of this machine are read" in found


def test_a_value_that_is_given_twice_on_the_command_line_is_asked_about(path: Path) -> None:
    path.write_text(LEAST)
    with pytest.raises(UsageError, match="seeds: given 2 times"):
        load_recipe(path, ["seeds=1", "note=x", "seeds=2"])


def test_a_number_in_the_place_of_text_is_to_be_put_in_quotes(path: Path) -> None:
    found = problems(path, "task: cola\nmodel: {checkpoint: a/b, revision: 12e03}\n")[0]
    assert "model.revision: found 12000.0, allowed is text, in quotes" in found


def test_bytes_that_are_not_utf8_are_named_with_their_line(path: Path) -> None:
    path.write_bytes(b"task: cola\nnote: \xff\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2: byte 0xff is not UTF-8"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_names_the_nearest_one(work: Path) -> None:
    with pytest.raises(MissingInputError, match="did you mean 'quickstart'"):
        load_recipe("quickstrat")
    with pytest.raises(MissingInputError, match="no such recipe file"):
        load_recipe("missing.yaml")


def test_a_recipe_that_is_no_regular_file_is_refused(work: Path) -> None:
    (work / "folder.yaml").mkdir()
    with pytest.raises(MissingInputError, match=r"folder\.yaml: a folder"):
        load_recipe("folder.yaml")
    os.mkfifo(work / "pipe.yaml")
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe("pipe.yaml")
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe("/dev/zero")
    (work / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises((MissingInputError, PermissionDeniedError)):
        load_recipe("loop.yaml")


def test_extends_merges_deeply_and_replaces_lists_and_scalars(work: Path) -> None:
    (work / "base.yaml").write_text(LEAST + "train: {epochs: 5, batch_size: 8}\nseeds: [1, 2]\n")
    (work / "middle.yaml").write_text("extends: base.yaml\ntrain: {epochs: 6}\n")
    loaded = load_recipe(_write(work / "child.yaml", "extends: middle.yaml\nseeds: [9]\n"))
    assert loaded.recipe.train is not None
    assert (loaded.recipe.train.epochs, loaded.recipe.train.batch_size, loaded.recipe.seeds) == (6, 8, [9])
    assert str(loaded.origins[("train", "epochs")]).endswith("middle.yaml:2")
    assert str(loaded.origins[("train", "batch_size")]).endswith("base.yaml:3")


def test_null_resets_to_the_default_and_train_null_means_no_training(work: Path) -> None:
    (work / "base.yaml").write_text(LEAST + "train: {epochs: 5, batch_size: 8}\n")
    reset = load_recipe(_write(work / "reset.yaml", "extends: base.yaml\ntrain: {epochs: null}\n")).recipe.train
    assert reset is not None
    assert (reset.epochs, reset.batch_size) == (3, 8)
    assert load_recipe(_write(work / "none.yaml", "extends: base.yaml\ntrain: null\n")).recipe.train is None
    assert load_recipe(_write(work / "plain.yaml", LEAST + "train: {epochs: null}\n")).recipe.train is not None


def test_recipes_that_extend_each_other_are_refused(work: Path) -> None:
    (work / "a.yaml").write_text("extends: b.yaml\n")
    (work / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(RecipeError, match=r"extends itself: a.yaml -> b.yaml -> a.yaml"):
        load_recipe(work / "a.yaml")


def test_no_more_than_twenty_recipes_extend_one_another(work: Path) -> None:
    (work / "0.yaml").write_text(LEAST)
    for number in range(1, 30):
        (work / f"{number}.yaml").write_text(f"extends: {number - 1}.yaml\n")
    load_recipe(work / "19.yaml")
    with pytest.raises(RecipeError, match=r"5\.yaml: the last of 21 recipes that extend one another"):
        load_recipe(work / "25.yaml")


def test_extends_of_a_missing_recipe_names_the_nearest_file(work: Path) -> None:
    (work / "base.yaml").write_text(LEAST)
    with pytest.raises(
        RecipeError, match=r"child.yaml:1: extends: no recipe file 'bse.yaml'.*did you mean 'base.yaml'"
    ):
        load_recipe(_write(work / "child.yaml", "extends: bse.yaml\n"))


def test_overrides_beat_the_file_and_say_so(path: Path) -> None:
    path.write_text(LEAST + "train: {epochs: 5}\n")
    loaded = load_recipe(path, ["train.epochs=2", "data.columns.text=4", "data.columns.label=lab", "note=x"])
    assert loaded.recipe.train is not None
    assert loaded.recipe.train.epochs == 2
    assert loaded.recipe.data.columns.text == 4
    rows = {key: origin for key, _, origin in render_origins(loaded)}
    assert rows["train.epochs"] == "command line"
    assert rows["model.checkpoint"] == f"{path}:2"
    assert rows["train.batch_size"] == "default"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "command line: train.epoch: unknown key; did you mean 'epochs'?"),
        ("foo", "an override is written key=value"),
        ("=3", "an override is written key=value"),
        ("train..x=3", "written key=value"),
        ("train.epochs=[", "not valid YAML"),
        ("train.epochs=x", "command line: train.epochs: found 'x'"),
    ],
)
def test_a_wrong_override_is_named(path: Path, override: str, message: str) -> None:
    assert message in problems(path, LEAST, override)[0]


def test_paths_are_relative_to_the_recipe_that_states_them(work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub" / "base.yaml").write_text(
        "task: text-classification\nmodel: {checkpoint: ./ckpt}\n"
        "data: {path: rows.csv, columns: {text: text, label: label}}\n"
    )
    loaded = load_recipe(_write(work / "child.yaml", "extends: sub/base.yaml\n"))
    assert loaded.recipe.data.path == str(work / "sub" / "rows.csv")
    assert loaded.recipe.model.checkpoint == str(work / "sub" / "ckpt")
    overridden = load_recipe(work / "child.yaml", ["data.path=other.csv"])
    assert overridden.recipe.data.path == str(work / "other.csv")


def test_extra_refuses_what_the_recipe_owns_and_what_does_not_exist(path: Path) -> None:
    found = problems(path, LEAST + "train:\n  extra:\n    learning_rate: 1\n    optimm: sgd\n    hub_token: x\n")
    assert "not to be set here: use train.learning_rate" in found[0]
    assert "no such field; did you mean 'optim'?" in found[1]
    assert "secrets do not belong in recipes" in found[2]


@pytest.mark.parametrize(("field", "allowed"), [
    ("logging_steps: many", "'many', allowed is a number"), ("logging_steps: [1]", "[1], allowed is a number"),
    ("logging_steps: true", "True, allowed"), ("dataloader_num_workers: 1.5", "1.5, allowed is a whole number"),
    ("optim: 3", "3, allowed is text"), ("tf32: 1", "1, allowed is true or false or null"),
    ("optim_args: {a: 1}", "allowed is text or null"), ("lr_scheduler_kwargs: [1]", "allowed is text or a mapping or null"),
])  # fmt: skip
def test_a_value_of_extra_of_another_type_is_named_with_what_is_allowed(path: Path, field: str, allowed: str) -> None:
    (found,) = problems(path, LEAST + f"train:\n  extra:\n    {field}\n")
    assert f"train.extra.{field.partition(':')[0]}: found " in found and allowed in found


def test_every_default_of_training_arguments_is_of_a_type_that_extra_takes() -> None:
    import dataclasses

    from transformers import TrainingArguments

    from finetune.extra_fields import OWNED_FIELDS, list_extra_problems

    values = {
        field.name: getattr(field.default, "value", field.default)
        for field in dataclasses.fields(TrainingArguments)
        if field.init and field.name not in OWNED_FIELDS and field.default is not dataclasses.MISSING
    }
    assert len(values) > 40
    assert list_extra_problems(values, ".".join) == []


def test_every_field_of_training_arguments_that_the_trainer_sets_is_owned() -> None:
    """A field that build_arguments sets and `extra` could set too would be decided twice."""
    import inspect

    from finetune import training_arguments
    from finetune.extra_fields import OWNED_FIELDS, list_training_arguments

    source = inspect.getsource(training_arguments.build_arguments)
    known = list_training_arguments()
    set_there = {name for name in known if f'"{name}"' in source} - {
        "logging_steps",
        "report_to",
        "ddp_find_unused_parameters",
    }
    assert set_there <= set(OWNED_FIELDS)
    assert set(OWNED_FIELDS) <= set(known) | {"gradient_checkpointing"}


@pytest.mark.parametrize(
    "text",
    [
        LEAST + "expect: {matthews: {low: 0, high: 1, source: x}}\n",
        LEAST + "expect: {macro_f1: {low: 0, high: 1, source: x}}\n",
        LEAST + "expect: {accuracy: {low: 1, high: 0, source: x}}\n",
        "task: text-classification\nmodel: {checkpoint: a/b}\n",
        "task: text-classification\nmodel: {checkpoint: a/b}\ndata: {path: x.csv}\n",
        LEAST + "data: {labels: [a, a]}\n",
        "task: cola\nmodel: {checkpoint: ./x, revision: main}\n",
        "task: cola\nmodel: {checkpoint: https://example.org/x}\n",
        "task: cola\nmodel: {checkpoint: a/b, trust_remote_code: true}\n",
        LEAST + "train: {precision: fp8}\n",
        LEAST + "train: {keep_checkpoints: 0}\n",
        LEAST + "train: {warmup_ratio: 2.0}\n",
        LEAST + "data: {max_length: 1}\n",
    ],
)
def test_contradictions_are_refused(path: Path, text: str) -> None:
    assert str(path) in problems(path, text)[0]


def test_a_resolved_recipe_reads_back_as_itself(work: Path) -> None:
    loaded = load_recipe(
        _write(work / "r.yaml", LEAST + "seeds: [3, 4]\nnote: 'yes: no'\ntrain: {learning_rate: 3e-5}\n")
    )
    write_resolved_recipe(loaded.recipe, work / "resolved.yaml")
    assert load_recipe(work / "resolved.yaml").recipe == loaded.recipe


def test_every_shipped_recipe_loads_states_its_schema_and_is_short() -> None:
    shipped = list_recipes()
    assert {"quickstart", "cola", "cola-minilm", "cola-gpt2", "cola-roberta", "cola-book"} <= set(shipped)
    for name, path in shipped.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "# yaml-language-server: $schema=recipe.schema.json", name
        assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 30, name
        model = load_recipe(path).recipe.model
        is_of_hub = model.checkpoint is not None and not model.is_package and not model.is_local
        assert model.revision or not is_of_hub, f"{name} does not pin its checkpoint"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
