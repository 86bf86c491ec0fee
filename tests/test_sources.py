"""Where rows are looked for, in which order, and what is said when they aren't there."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from finetune.errors import DataError, FinetuneError, MissingInputError, RecipeError, UnavailableError
from finetune.recipe import Recipe
from finetune.layouts import build_layout
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
    with pytest.raises(RecipeError, match=r"^data\.columns: text and label have to be named for task text-classification; missing: label$"):
        build_layout(recipe(path="rows.csv", columns={"text": "a"}), None)
