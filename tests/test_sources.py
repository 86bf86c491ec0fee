"""Where rows are looked for, in which order, and what is said when they aren't there."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from finetune.errors import DataError, FinetuneError, MissingInputError, RecipeError, UnavailableError
from finetune.layouts import build_layout
from finetune.recipe import Recipe
from finetune.sources import LocatedData, locate_data
from finetune.task import Layout, get_task
from tests.tiny import write_cola_like

COLUMNS = {"text": "text", "label": "label"}
TRAINED: dict = {}


def recipe(task: str = "text-classification", train: dict | None = TRAINED, **data: object) -> Recipe:
    values = {"columns": COLUMNS, **data} if "path" in data else data
    return Recipe.model_validate({"task": task, "model": {"checkpoint": "./m"}, "data": values, "train": train})


def locate(task: str = "text-classification", **settings: object) -> LocatedData:
    return locate_data(recipe(task, **settings), get_task(task))  # type: ignore[arg-type]


def names_of(located: LocatedData) -> dict[str, list[str]]:
    return {part: [path.name for path in paths] for part, paths in located.files.items()}


def fails(kind: type[FinetuneError], **settings: object) -> str:
    with pytest.raises(kind) as caught:
        locate(**settings)  # type: ignore[arg-type]
    assert isinstance(caught.value, kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("text,label\na,0\nb,1\n")
    return folder


def test_one_file_is_train_and_without_training_test(own_file: Path) -> None:
    assert names_of(locate(path=str(own_file))) == {"train": ["rows.csv"]}
    assert names_of(locate(path=str(own_file), train=None)) == {"test": ["rows.csv"]}


def test_a_folder_gives_each_part_its_file(work: Path) -> None:
    write(work / "rows", "train.csv", "dev.TSV", "test.parquet", "train.txt", "notes.md", "other.csv")
    located = locate(path=str(work / "rows"))
    assert names_of(located) == {"train": ["train.csv"], "dev": ["dev.TSV"], "test": ["test.parquet"]}
    assert located.origin == "the recipe's data.path"


def test_stated_files_play_the_parts_they_are_stated_for(work: Path) -> None:
    write(work, "a.csv", "b.csv")
    assert names_of(locate(path={"train": "b.csv", "test": "a.csv"})) == {"train": ["b.csv"], "test": ["a.csv"]}
    assert names_of(locate(path={"dev": "b.csv"}, train=None)) == {"dev": ["b.csv"]}


def test_a_missing_file_names_the_nearest_one(own_file: Path) -> None:
    path = str(own_file.with_name("rows.cvs"))
    assert fails(MissingInputError, path=path) == (
        f"{path}: no such file or folder (data.path); did you mean 'rows.csv'?"
    )
    assert "rows.cvs: no such" in fails(MissingInputError, path={"train": str(own_file), "test": "rows.cvs"})


@pytest.mark.parametrize("path", ["nowhere/rows.csv", "x" * 300, "~nobody-of-this-name/rows.csv", "rows.csv/rows.csv"])
def test_a_path_that_can_not_exist_is_missing(own_file: Path, path: str) -> None:
    assert fails(MissingInputError, path=path).startswith(f"{path}: no such file or folder")


def test_a_folder_without_train_lists_what_it_holds(work: Path) -> None:
    write(work / "rows", "test.csv", "training.csv")
    message = fails(MissingInputError, path=str(work / "rows"))
    assert message == (
        f"{work}/rows: no train.* in this folder (.csv, .jsonl, .parquet, .tsv); it holds test.csv, training.csv"
    )
    write(work / "empty")
    assert fails(MissingInputError, path=str(work / "empty")).endswith("it holds nothing")


def test_a_folder_that_is_only_measured_needs_test_or_dev(work: Path) -> None:
    write(work / "rows", "train.csv")
    assert "no test.* or dev.* in this folder" in fails(MissingInputError, path=str(work / "rows"), train=None)
    write(work / "rows", "dev.csv")
    assert "dev" in locate(path=str(work / "rows"), train=None).files


def test_two_files_for_one_part_are_both_named(work: Path) -> None:
    write(work / "rows", "train.csv", "train.jsonl")
    message = fails(DataError, path=str(work / "rows"))
    assert message == f"{work}/rows: train is there twice: train.csv, train.jsonl"


@pytest.mark.parametrize("second", ["rows.csv", "./rows.csv", "link.csv"])
def test_one_file_can_not_play_two_parts(own_file: Path, second: str) -> None:
    own_file.with_name("link.csv").symlink_to(own_file)
    message = fails(RecipeError, path={"train": "rows.csv", "test": second})
    assert message.startswith("data.path: the same file plays two parts")


def test_a_link_in_a_folder_can_not_play_a_second_part(work: Path) -> None:
    write(work / "rows", "train.csv")
    (work / "rows" / "test.csv").symlink_to(work / "rows" / "train.csv")
    assert "the same file plays two parts" in fails(RecipeError, path=str(work / "rows"))


def test_stated_parts_must_hold_what_the_recipe_needs(own_file: Path) -> None:
    assert fails(RecipeError, path={"test": "rows.csv"}).startswith("data.path.train: missing; the recipe trains")
    assert fails(RecipeError, path={"train": "rows.csv"}, train=None).startswith("data.path.test: missing")
    assert fails(RecipeError, path={}).startswith("data.path.train: missing")


def test_a_task_without_data_needs_a_path(work: Path) -> None:
    assert fails(RecipeError) == "data.path: missing; task text-classification has no data of its own"


def test_embedded_data_is_always_there(work: Path) -> None:
    located = locate("grammar-sample")
    assert located.origin == "embedded in finetune"
    assert all(path.is_file() for paths in located.files.values() for path in paths)


def test_an_own_path_comes_before_every_other_place(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(write_cola_like(own_file.parent / "root")))
    located = locate("cola", path=str(own_file))
    assert names_of(located) == {"train": ["rows.csv"]}
    assert located.licence == "the user's own"
    assert located.layout == Layout(text="text", label="label")


def test_finetune_data_comes_before_the_hub(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(write_cola_like(work / "root")))
    located = locate("cola")
    assert located.origin == "$FINETUNE_DATA/cola"
    assert names_of(located) == {
        "train": ["in_domain_train.tsv"],
        "test": ["in_domain_dev.tsv", "out_of_domain_dev.tsv"],
    }
    assert located.layout == Layout(text="4", label="2", header=False, slices={"source": "1"})
    assert locate("cola-book").origin == "$FINETUNE_DATA/cola/book"


@pytest.mark.parametrize("task", ["cola", "cola-book"])
def test_data_that_is_nowhere_is_one_paragraph_with_three_ways_out(
    work: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(work / "cache"))
    root = write_cola_like(work / "root")
    folder = get_task(task).source.folder  # type: ignore[union-attr]
    (root / folder / "in_domain_train.tsv").unlink()
    monkeypatch.setenv("FINETUNE_DATA", str(root))
    message = fails(UnavailableError, task=task)
    for way in (
        "1. set FINETUNE_DATA to a folder that holds ",
        "2. name your own files in the recipe: data.path",
        "3. ",
    ):
        assert way in message
    assert f"{folder}/ with in_domain_train.tsv" in message


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        ({"columns": {"text": 4, "label": 2}, "header": False}, Layout("4", "2", header=False)),
        ({"columns": {"text": "a", "label": "b"}, "delimiter": ";"}, Layout("a", "b", delimiter=";")),
        (
            {"columns": {"text": "a", "text_pair": "c", "label": "b", "id": "d", "group": "e"}},
            Layout("a", "b", text_pair="c", id="d", group="e"),
        ),
    ],
)
def test_a_layout_is_what_the_recipe_states(data: dict, layout: Layout) -> None:
    assert build_layout(recipe(path="rows.csv", **data), None) == layout


def test_a_stated_delimiter_holds_for_the_columns_of_the_task_too() -> None:
    task = get_task("cola")
    assert task.source is not None
    stated = recipe("cola", path="rows.csv", columns={}, delimiter=";")
    assert build_layout(stated, task.source.layout) == replace(task.source.layout, delimiter=";")


def test_half_a_layout_is_refused() -> None:
    with pytest.raises(
        RecipeError,
        match=r"^data\.columns: text and label have to be named for task text-classification; missing: label$",
    ):
        build_layout(recipe(path="rows.csv", columns={"text": "a"}), None)


@pytest.mark.parametrize("name", ["validation.csv", "valid.tsv", "val.jsonl", "dev.parquet"])
def test_dev_goes_by_several_names_in_a_folder(work: Path, name: str) -> None:
    for file in ("train.csv", name):
        (work / file).write_text("text,label\n")
    assert names_of(locate(path=".")) == {"train": ["train.csv"], "dev": [name]}


def test_two_names_of_dev_are_both_named(work: Path) -> None:
    for name in ("train.csv", "dev.csv", "valid.csv"):
        (work / name).write_text("text,label\n")
    assert fails(DataError, path=".") == ".: dev is there twice: dev.csv, valid.csv"


def test_text_files_play_parts_where_texts_alone_are_learnt(work: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt", "labels.txt"):
        (work / name).write_text("text\n")
    found = names_of(locate("masked-lm", path=".", columns={}))
    assert found == {"train": ["train.txt"], "dev": ["valid.txt"], "test": ["test.txt"]}
    assert fails(MissingInputError, path=".").endswith(
        "no train.* in this folder (.csv, .jsonl, .parquet, .tsv); it holds labels.txt, test.txt, train.txt, valid.txt"
    )


def test_a_text_file_has_no_labels_to_learn(work: Path) -> None:
    (work / "rows.txt").write_text("text\n")
    assert fails(DataError, path="rows.txt") == (
        "rows.txt: a .txt file holds texts alone, and task text-classification needs more columns; "
        "it takes .csv, .jsonl, .parquet, .tsv"
    )


def test_worked_examples_of_a_prompt_need_train_rows(work: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (work / name).write_text("text,label\n")
    values = recipe(train=None, path=".").model_dump() | {"evaluate": {"prompt": {"shots": 2}}}
    assert Recipe.model_validate(values).needs_train
    assert not Recipe.model_validate(values | {"evaluate": {"prompt": {"shots": 0}}}).needs_train


# Columns


@pytest.mark.parametrize(
    ("task", "columns", "layout"),
    [
        ("regression", {"text": "a", "label": "b"}, Layout("a", "b")),
        ("regression", {"text": "a", "text_pair": "c", "label": "b"}, Layout("a", "b", text_pair="c")),
        ("pair-classification", {"text": 1, "text_pair": 2, "label": 3}, Layout("1", "3", text_pair="2")),
        ("multilabel", {"text": "a", "labels": ["b", 3]}, Layout("a", labels=("b", "3"))),
        ("masked-lm", {}, Layout("text")),
        ("causal-lm", {"text": "a", "group": "g"}, Layout("a", group="g")),
        ("nsp", {"text": "a"}, Layout("a")),
        ("blimp", {"text": "good", "text_pair": "bad"}, Layout("good", text_pair="bad")),
    ],
)
def test_each_objective_takes_its_own_columns(task: str, columns: dict, layout: Layout) -> None:
    assert build_layout(recipe(task, path="rows.csv", columns=columns), None) == layout


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        (
            "pair-classification",
            {"text": "a", "label": "b"},
            "text, text_pair and label have to be named for task pair-classification; missing: text_pair",
        ),
        (
            "mrpc",
            {"text": "a", "label": "b"},
            "text, text_pair and label have to be named for task mrpc; missing: text_pair",
        ),
        ("regression", {"text": "a"}, "text and label have to be named for task regression; missing: label"),
        (
            "multilabel",
            {"text": "a", "label": "b"},
            "text and labels have to be named for task multilabel; missing: labels",
        ),
        ("multilabel", {"text": "a", "labels": ["b", "b"]}, "labels: column 'b' stands twice"),
        ("masked-lm", {"label": "b"}, "label has no place in task masked-lm, which learns from text"),
        ("nsp", {"text": "a", "text_pair": "b"}, "text_pair has no place in task nsp, which learns from text"),
        (
            "blimp",
            {"text": "a", "text_pair": "b", "label": "c"},
            "label has no place in task blimp, which learns from text and text_pair",
        ),
        (
            "regression",
            {"text": "a", "label": "b", "labels": ["c"]},
            "labels has no place in task regression, which learns from text and label",
        ),
    ],
)
def test_columns_that_do_not_fit_the_objective_are_one_line(task: str, columns: dict, message: str) -> None:
    source = get_task(task).source
    with pytest.raises(RecipeError) as caught:
        build_layout(recipe(task, path="rows.csv", columns=columns), source.layout if source else None)
    assert str(caught.value) == f"data.columns: {message}"


def test_documents_are_cut_as_the_recipe_says_or_as_the_task_has_it() -> None:
    source = get_task("kant-mlm").source
    assert source is not None
    own, stated = (
        recipe("kant-mlm", path="a.txt", columns={}),
        recipe("kant-mlm", path="a.txt", columns={}, documents="line"),
    )
    assert build_layout(own, source.layout).documents == "paragraph"
    assert build_layout(stated, source.layout).documents == "line"
