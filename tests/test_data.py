"""From files to splits: nothing is altered, every part keeps to its use, and one content has one fingerprint."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import constants

from finetune.data import TaskData, load_data, texts_of
from finetune.errors import DataError, FinetuneError, MissingInputError
from finetune.recipe import Recipe
from finetune.task import get_task
from tests.test_hub import write_cache
from tests.tiny import WORDS, build_sentences, write_cola_like, write_rows

PAIR = {"text": "text", "label": "label"}
TRAINED: dict = {}


def load(
    task: str = "text-classification", train: dict | None = TRAINED, slices: Sequence[str] = (), **data: object
) -> TaskData:
    values = {"columns": PAIR, **data} if "path" in data else data
    recipe = {
        "task": task,
        "model": {"checkpoint": "./m"},
        "data": values,
        "train": train,
        "evaluate": {"slices": list(slices)},
    }
    return load_data(Recipe.model_validate(recipe), get_task(task))


def fails(kind: type[FinetuneError] = DataError, **settings: object) -> str:
    with pytest.raises(kind) as caught:
        load(**settings)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(data: TaskData, part: str) -> list[str]:
    return list(data.splits[part].examples["row"])  # type: ignore[index]


def counts_of(data: TaskData) -> dict[str, int]:
    return {part: len(split.examples) for part, split in data.splits.items()}


def fingerprints(data: TaskData) -> dict[str, str]:
    return {split.part: split.fingerprint for split in data.record.splits}


@pytest.fixture
def three_files(work: Path) -> Path:
    for seed, (part, rows) in enumerate({"train": 200, "dev": 30, "test": 40}.items()):
        write_rows(work / f"{part}.csv", rows, seed)
    return work


# What plays which part


def test_one_file_gives_train_and_a_carved_test_and_no_dev(own_file: Path) -> None:
    data = load(path=str(own_file))
    assert counts_of(data) == {"train": 180, "test": 20}
    assert data.splits["test"].origin == "carved from rows.csv"
    assert data.record.selection == "nothing was selected, so no rows play dev"
    assert counts_of(load(path=str(own_file), test_fraction=0.25)) == {"train": 150, "test": 50}


@pytest.mark.parametrize("train", [{"patience": 2}, {"keep_best": True}])
def test_a_dev_is_carved_from_train_where_something_selects(own_file: Path, train: dict) -> None:
    data = load(path=str(own_file), train=train)
    assert counts_of(data) == {"train": 162, "dev": 18, "test": 20}
    assert data.record.selection == "dev: 10% of train, carved with split_seed 0"
    assert rows_of(data, "test") == rows_of(load(path=str(own_file)), "test"), "selecting moved the test"


def test_a_dev_is_carved_where_it_is_asked_for(own_file: Path) -> None:
    assert counts_of(load(path=str(own_file), dev_fraction=0.2)) == {"train": 144, "dev": 36, "test": 20}


def test_a_supplied_dev_plays_test_where_no_test_is_supplied(three_files: Path) -> None:
    data = load(path={"train": "train.csv", "dev": "dev.csv"})
    assert counts_of(data) == {"train": 200, "test": 30}
    assert data.splits["test"].origin == "dev.csv"
    assert [split.part for split in data.record.splits] == ["train", "test"]
    assert rows_of(data, "test")[0] == "dev/0"
    selecting = load(path={"train": "train.csv", "dev": "dev.csv"}, train={"patience": 1})
    assert counts_of(selecting) == {"train": 180, "dev": 20, "test": 30}
    assert {row.partition("/")[0] for row in rows_of(selecting, "dev")} == {"train"}


def test_three_supplied_parts_stay_as_they_are(three_files: Path) -> None:
    for train in ({}, {"patience": 1}):
        data = load(path=str(three_files), train=train)
        assert counts_of(data) == {"train": 200, "dev": 30, "test": 40}
        assert data.record.selection == "dev: dev.csv, supplied"


def test_a_supplied_test_is_the_test(three_files: Path) -> None:
    assert counts_of(load(path={"train": "train.csv", "test": "test.csv"})) == {"train": 200, "test": 40}


def test_without_training_only_the_test_is_read(three_files: Path) -> None:
    (three_files / "train.csv").write_text("nothing that could be read")
    data = load(path=str(three_files), train=None)
    assert counts_of(data) == {"test": 40}
    assert data.record.shared_with_train == []


def test_without_training_a_dev_alone_plays_test(three_files: Path) -> None:
    assert counts_of(load(path={"dev": "dev.csv"}, train=None)) == {"test": 30}
    (three_files / "test.csv").unlink()
    assert counts_of(load(path=str(three_files), train=None)) == {"test": 30}


def test_split_seed_alone_decides_which_rows_are_carved(own_file: Path) -> None:
    first = load(path=str(own_file), train={"patience": 1})
    other = load(path=str(own_file), train={"patience": 1, "learning_rate": 1e-3, "epochs": 9, "batch_size": 4})
    assert fingerprints(first) == fingerprints(other)
    assert fingerprints(load(path=str(own_file), split_seed=1)) != fingerprints(load(path=str(own_file)))


def test_parts_share_no_text_even_where_a_file_repeats_them(work: Path) -> None:
    sentences = build_sentences(60)
    lines = [f"{shape(text)}\t{label}" for text, label in sentences for shape in (str, str.upper, " {} ".format)]
    (work / "rows.tsv").write_text("\n".join(["text\tlabel", *lines]))
    data = load(path="rows.tsv", train={"patience": 1})
    assert data.record.shared_with_train == []
    assert sum(counts_of(data).values()) == 180


def test_a_stated_group_never_parts(work: Path) -> None:
    lines = [f"text {number},{number % 2},author {number // 6}" for number in range(120)]
    (work / "rows.csv").write_text("\n".join(["text,label,author", *lines]))
    data = load(path="rows.csv", columns={**PAIR, "group": "author"}, train={"patience": 1})
    groups = [set(split.examples["group"]) for split in data.splits.values()]
    assert len(groups) == 3
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


# Rows as they stand in the file


AWKWARD = [
    "NA",
    "007",
    " x ",
    'a "bare" quote',
    "null",
    "1e5",
    "",
    "\u2028",
    "'",
    "#",
    "=1+1",
    "\ufeff",
    "é",
    "e\u0301",
]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_no_cell_is_altered_in_any_format(work: Path, suffix: str) -> None:
    labels = ["007", "NA"] * (len(AWKWARD) // 2)
    path = work / f"train{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": AWKWARD, "label": labels}), path)
    elif suffix == ".jsonl":
        rows = [{"text": text, "label": label} for text, label in zip(AWKWARD, labels, strict=True)]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        quoted = ['"{}"'.format(text.replace('"', '""')) if suffix == ".csv" else text for text in AWKWARD]
        separator = "," if suffix == ".csv" else "\t"
        lines = [separator.join(pair) for pair in zip(quoted, labels, strict=True)]
        path.write_text("\n".join([f"text{separator}label", *lines]))
    (work / "test.csv").write_text("text,label\na,007\n")
    data = load(path={"train": str(path), "test": "test.csv"})
    examples = data.splits["train"].examples
    assert list(examples["text"]) == AWKWARD
    assert data.label_names == ("007", "NA")
    assert list(examples["label"]) == [0, 1] * (len(AWKWARD) // 2)
    assert list(examples["row"]) == [f"train/{number}" for number in range(len(AWKWARD))]


def test_row_ids_survive_carving_and_drawing(own_file: Path) -> None:
    sentences = build_sentences(200)
    data = load(path=str(own_file), train={"patience": 1}, max_train_rows=100, max_test_rows=10)
    assert counts_of(data) == {"train": 90, "dev": 10, "test": 10}
    for split in data.splits.values():
        for row, text in zip(split.examples["row"], split.examples["text"], strict=True):
            part, _, number = row.partition("/")
            assert part == "train"
            assert sentences[int(number)][0] == text
    everything = [row for part in data.splits for row in rows_of(data, part)]
    assert len(set(everything)) == len(everything)


def test_a_smaller_train_is_measured_on_the_same_test(own_file: Path) -> None:
    whole, small = load(path=str(own_file)), load(path=str(own_file), max_train_rows=50)
    assert fingerprints(whole)["test"] == fingerprints(small)["test"]


def test_rows_of_several_files_are_numbered_through(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(write_cola_like(work)))
    data = load("cola")
    assert rows_of(data, "test") == [f"test/{number}" for number in range(80)]
    assert data.splits["test"].origin == "in_domain_dev.tsv + out_of_domain_dev.tsv"
    assert data.splits["test"].examples[40]["text"] == build_sentences(40, seed=2)[0][0]


def test_rows_are_read_in_chunks_that_leave_no_seam(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(work / "rows.csv", 100)
    whole = load(path="rows.csv")
    for rows in (1, 7, 50, 100):
        monkeypatch.setattr("finetune.examples.ROWS_A_CHUNK", rows)
        assert fingerprints(load(path="rows.csv")) == fingerprints(whole)


@pytest.mark.parametrize("group", [None, "set"])
def test_rows_on_disk_are_cut_and_judged_as_those_in_memory(
    work: Path, monkeypatch: pytest.MonkeyPatch, group: str | None
) -> None:
    # Some texts stand twice, with another case or label, and some of train stand in test.
    for part, rows in (("train", range(150)), ("test", range(130, 170))):
        lines = [f"{'tT'[n % 2]}ext {n % 110}{'  ' * (n % 2)},{n % 3},{'' if n % 40 else 'x'},g{n % 70}" for n in rows]
        (work / f"{part}.csv").write_text("\n".join(["text,label,second,set", *lines]))
    settings = {
        "path": {"train": "train.csv", "test": "test.csv"},
        "columns": {**PAIR, "text_pair": "second", "group": group},
        "train": {"keep_best": True},
        "drop_train_rows_in_test": True,
        "max_train_rows": 100,
    }
    few = load(**settings)  # type: ignore[arg-type]
    assert few.record.dropped_train_rows and any(split.duplicates for split in few.record.splits)
    assert any(split.contradictions for split in few.record.splits)
    monkeypatch.setattr("finetune.row_store.BYTES_IN_MEMORY", 0)
    for module in ("row_store", "examples"):
        monkeypatch.setattr(f"finetune.{module}.ROWS_A_CHUNK", 7)
    many = load(**settings)  # type: ignore[arg-type]
    assert many.record == few.record
    for part, split in many.splits.items():
        assert list(split.examples) == list(few.splits[part].examples)


def test_only_some_rows_are_in_memory_at_a_time(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{n} {'long' * 1100},{n % 2}" for n in range(2000)]
    (work / "rows.csv").write_text("\n".join(["text,label", *lines]))
    load(path="rows.csv")  # what is imported on the way stays
    monkeypatch.setattr("finetune.row_store.BYTES_IN_MEMORY", 0)
    for module in ("row_store", "examples"):
        monkeypatch.setattr(f"finetune.{module}.ROWS_A_CHUNK", 200)
    arrow_before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    data = load(path="rows.csv", train={"keep_best": True})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(counts_of(data).values()) == 2000
    size = (work / "rows.csv").stat().st_size
    assert size > 8_000_000 and peak < size / 2
    # Labels alone, 8 bytes a row.
    assert pyarrow.total_allocated_bytes() - arrow_before < size / 10


def test_pairs_ids_and_slices_come_along(work: Path) -> None:
    lines = [f"one {n},two {n},{n % 2},id-{n},{'abc'[n % 3]}" for n in range(40)]
    (work / "rows.csv").write_text("\n".join(["a,b,label,key,topic", *lines]))
    columns = {"text": "a", "text_pair": "b", "label": "label", "id": "key"}
    data = load(path="rows.csv", columns=columns, slices=["topic"])
    assert data.slice_columns == ("topic",)
    first = data.splits["train"].examples[0]
    number = int(first["row"].partition("/")[2])
    assert (first["text"], first["text_pair"], first["id"]) == (f"one {number}", f"two {number}", f"id-{number}")
    assert first["slice:topic"] == "abc"[number % 3]
    assert texts_of(data.splits["train"].examples)[0] == (f"one {number}", f"two {number}")


def test_columns_are_found_by_number_where_there_is_no_header(work: Path) -> None:
    (work / "rows.tsv").write_text("".join(f"src\t{n % 2}\t\ttext {n}\n" for n in range(40)))
    data = load(path="rows.tsv", columns={"text": 4, "label": 2}, header=False)
    assert sum(counts_of(data).values()) == 40
    assert data.splits["train"].examples[0]["text"].startswith("text ")


def test_another_delimiter_is_respected(work: Path) -> None:
    (work / "rows.csv").write_text("text;label\n" + "".join(f'"a; {n}";{n % 2}\n' for n in range(40)))
    assert load(path="rows.csv", delimiter=";").splits["train"].examples[0]["text"].startswith("a; ")


# Labels


def test_labels_found_in_data_are_sorted_by_number(work: Path) -> None:
    (work / "rows.csv").write_text("text,label\n" + "".join(f"text {n},{(10, 9, 2)[n % 3]}\n" for n in range(60)))
    data = load(path="rows.csv")
    assert data.label_names == ("2", "9", "10")
    assert data.record.labels == ["2", "9", "10"]


@pytest.mark.parametrize(("labels", "names"), [(["b", "a"], ("b", "a")), ({"b": "yes", "a": "no"}, ("yes", "no"))])
def test_stated_labels_keep_their_order_and_names(work: Path, labels: object, names: tuple[str, ...]) -> None:
    (work / "rows.csv").write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(60)))
    data = load(path="rows.csv", labels=labels)
    assert data.label_names == names
    examples = data.splits["train"].examples
    assert all(
        label == 1 - int(text.split()[1]) % 2 for text, label in zip(examples["text"], examples["label"], strict=True)
    )


def test_a_label_of_the_test_that_train_lacks_is_refused_at_its_row(work: Path) -> None:
    write_rows(work / "train.csv", 20)
    (work / "test.csv").write_text("text,label\na,acceptable\nb,unaceptable\n")
    assert fails(path=str(work)) == (
        f"{work}/test.csv:3:label: label 'unaceptable' is not one of acceptable, unacceptable; "
        "did you mean 'unacceptable'?"
    )


# One content, one fingerprint


def write_hub_cola(cache: Path, root: Path) -> None:
    """Write the rows of the CoLA files below `root` into a hub cache as the hub has them."""
    files = {"train": ["in_domain_train"], "validation": ["in_domain_dev", "out_of_domain_dev"]}
    found = {}
    for part, names in files.items():
        lines = [line for name in names for line in (root / "cola" / f"{name}.tsv").read_text().splitlines()]
        cells = [line.split("\t") for line in lines]
        table = pyarrow.table(
            {
                "sentence": [text for *_, text in cells],
                "label": pyarrow.array([int(row[1]) for row in cells], pyarrow.int64()),
                "idx": pyarrow.array(range(len(cells)), pyarrow.int32()),
            }
        )
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        found[f"cola/{part}-00000-of-00001.parquet"] = sink.getvalue().to_pybytes()
    source = get_task("cola").source
    assert source is not None and source.hub_id is not None and source.hub_revision is not None
    written = write_cache(cache, source.hub_id, found, kind="dataset")
    written.rename(written.with_name(source.hub_revision))


def test_rows_of_the_hub_have_the_fingerprint_of_the_local_files(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_cola_like(work / "root")
    write_hub_cola(work / "cache", root)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(work / "cache"))
    hub = load("cola")
    monkeypatch.setenv("FINETUNE_DATA", str(root))
    local = load("cola")
    assert hub.record.source == "hub: nyu-mll/glue at bcdcba79"
    assert local.record.source == "$FINETUNE_DATA/cola"
    assert fingerprints(hub) == fingerprints(local)
    assert rows_of(hub, "test") == rows_of(local, "test")
    assert hub.record.splits[0].labels == local.record.splits[0].labels


def test_the_command_line_finds_a_task_in_the_hub_cache_offline(work: Path, finetune: Callable) -> None:
    write_hub_cola(work / "home" / "hub", write_cola_like(work / "root"))
    done = finetune("check", "cola", "--only", "data", env={"HF_HOME": str(work / "home"), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert "hub: nyu-mll/glue at bcdcba79;" in done.stdout
    assert "train: 640 rows" in done.stdout and "test: 80 rows" in done.stdout


def test_one_content_has_one_fingerprint_in_every_format(work: Path) -> None:
    rows = build_sentences(30)
    (work / "a.tsv").write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for text, label in rows))
    lines = [json.dumps({"label": label, "text": text}) for text, label in rows]
    (work / "b.jsonl").write_text("\n".join(lines))
    write_rows(work / "c.csv", 30)
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), work / "d.parquet")
    found = {fingerprints(load(path=name, train=None))["test"] for name in ("a.tsv", "b.jsonl", "c.csv", "d.parquet")}
    assert len(found) == 1


# Leaks


def write_overlap(work: Path) -> None:
    sentences = build_sentences(40)
    write_rows(work / "train.csv", 40)
    shared = [(sentences[3][0].upper(), sentences[3][1]), (sentences[8][0], sentences[8][1])]
    lines = [f"{text},{label}" for text, label in [*build_sentences(10, seed=9), *shared]]
    (work / "test.csv").write_text("\n".join(["text,label", *lines]))


def test_test_rows_that_stand_in_train_are_named(work: Path) -> None:
    write_overlap(work)
    record = load(path=str(work)).record
    assert [(entry.part, entry.rows) for entry in record.shared_with_train] == [("test", ["test/10", "test/11"])]
    assert record.dropped_train_rows == 0


def test_train_rows_that_stand_in_the_test_are_dropped_where_asked(work: Path) -> None:
    write_overlap(work)
    data = load(path=str(work), drop_train_rows_in_test=True)
    assert data.record.dropped_train_rows == 2
    assert data.record.shared_with_train == []
    assert counts_of(data) == {"train": 38, "test": 12}
    assert not {"train/3", "train/8"} & set(rows_of(data, "train"))


def test_dropping_every_train_row_is_refused(work: Path) -> None:
    write_rows(work / "train.csv", 20)
    write_rows(work / "test.csv", 20)
    message = fails(path=str(work), drop_train_rows_in_test=True)
    assert message.startswith("train.csv: the text of every train row stands in the test")


# What is wrong with a file


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": "txt", "label": "label"}, "'txt' (data.columns.text), found are text, label; did you mean 'text'?"),
        (
            {"text": "text", "label": "labels"},
            "'labels' (data.columns.label), found are text, label; did you mean 'label'?",
        ),
        ({**PAIR, "group": "author"}, "'author' (data.columns.group), found are text, label"),
        ({"text": 4, "label": 2}, "'4' (data.columns.text), found are text, label"),
    ],
)
def test_a_missing_column_names_the_nearest_one(own_file: Path, columns: dict, message: str) -> None:
    assert fails(path=str(own_file), columns=columns) == f"{own_file}: no column {message}"


def test_a_missing_slice_column_is_said_of_the_slices(own_file: Path) -> None:
    assert "no column 'topic' (evaluate.slices), found are text, label" in fails(path=str(own_file), slices=["topic"])
    assert "no column 'txt' (evaluate.slices), found are text, label; did you mean 'text'?" in fails(
        path=str(own_file), slices=["txt"]
    )


def test_a_dev_of_which_every_row_stands_in_the_test_is_refused(own_file: Path) -> None:
    same = own_file.with_name("same.csv")
    same.write_bytes(own_file.read_bytes())
    message = fails(path={"train": str(own_file), "test": str(same)}, dev_fraction=0.1)
    assert message.startswith("rows.csv: every row carved for dev stands in the test too")


def test_column_names_with_line_ends_stay_on_one_line(work: Path) -> None:
    names = ",".join(f'"question\n{number}"' for number in range(300))
    (work / "rows.csv").write_text(f"{names}\n{','.join(['x'] * 300)}\n")
    assert len(fails(path="rows.csv")) < 400


def test_column_numbers_out_of_range_show_the_range(work: Path) -> None:
    (work / "rows.tsv").write_text("a\t0\nb\t1\n")
    message = fails(path="rows.tsv", columns={"text": 1, "label": 3}, header=False)
    assert message == "rows.tsv: no column '3' (data.columns.label), found are 1, 2"


def test_a_label_out_of_range_names_file_row_and_column(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_cola_like(work)
    with (root / "cola" / "out_of_domain_dev.tsv").open("a") as stream:
        stream.write("src\t2\t\tA sentence.\n")
    monkeypatch.setenv("FINETUNE_DATA", str(root))
    message = fails(task="cola")
    assert message == f"{root}/cola/out_of_domain_dev.tsv:41:2: label '2' is not one of 0, 1"


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_null_is_refused_at_its_cell(work: Path, column: str) -> None:
    rows = [{"text": f"text {number}", "label": number % 2, "other": None} for number in range(20)]
    rows[4][column] = None
    (work / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert fails(path="rows.jsonl") == f"rows.jsonl:5:{column}: the cell is null, text is expected"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), work / "rows.parquet")
    assert fails(path="rows.parquet") == f"rows.parquet:5:{column}: the cell is null, text is expected"


def test_an_empty_label_is_refused_at_its_cell(work: Path) -> None:
    (work / "rows.csv").write_text("text,label\na,x\nb,\n")
    assert fails(path="rows.csv") == "rows.csv:3:label: the label is empty"


def test_one_class_can_not_be_learnt(work: Path) -> None:
    (work / "rows.csv").write_text("text,label\n" + "".join(f"text {n},spam\n" for n in range(40)))
    assert fails(path="rows.csv") == (
        "rows.csv: every train row is labelled 'spam', and from one class nothing can be learnt"
    )
    assert counts_of(load(path="rows.csv", train=None)) == {"test": 40}


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_an_empty_file_is_refused(work: Path, content: str) -> None:
    (work / "rows.csv").write_text(content)
    assert fails(path="rows.csv").startswith("rows.csv: no rows")


def test_a_missing_file_is_a_missing_input(work: Path) -> None:
    assert fails(MissingInputError, path="rows.csv") == "rows.csv: no such file or folder (data.path)"


def test_too_few_rows_to_carve_say_so(work: Path) -> None:
    (work / "rows.csv").write_text("text,label\na,0\nb,1\n")
    assert fails(path="rows.csv") == "2 rows in 2 groups are too few to carve 10% of them out"


# Numbers, several labels at once, pairs


def write_table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_numbers_are_cut_over_their_whole_extent(work: Path) -> None:
    write_table(work / "rows.csv", "a,b,score", [f"one {n},two {n},{n / 100}" for n in range(500)])
    columns = {"text": "a", "text_pair": "b", "label": "score"}
    data = load("regression", path="rows.csv", columns=columns, train={"keep_best": True})
    assert counts_of(data) == {"train": 405, "dev": 45, "test": 50}
    assert data.label_names == () and data.record.labels == []
    for split in data.record.splits:
        assert split.labels == {} and split.contradictions is None
        assert split.mean == pytest.approx(2.5, abs=0.25)
    assert {type(label) for label in data.splits["test"].examples["label"]} == {float}


def test_a_number_of_the_hub_has_the_fingerprint_of_the_written_one(work: Path) -> None:
    write_table(work / "a.tsv", "text\tlabel", ["x\t3", "y\t4.50"])
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x", "y"], "label": [3.0, 4.5]}), work / "b.parquet")
    found = [fingerprints(load("regression", path=name, train=None)) for name in ("a.tsv", "b.parquet")]
    assert found[0] == found[1]


def test_a_label_of_a_regression_that_is_text_names_its_cell(work: Path) -> None:
    write_table(work / "rows.csv", "text,label", ["a,1.5", "b,high"])
    assert fails(task="regression", path="rows.csv") == "rows.csv:3:label: label 'high' is not a number"
    write_table(work / "rows.csv", "text,label", [f"text {n},3" for n in range(40)])
    assert fails(task="regression", path="rows.csv") == (
        "rows.csv: every train row is labelled '3.0', and from one number nothing can be learnt"
    )


def test_several_labels_are_named_by_their_columns(work: Path) -> None:
    write_table(
        work / "rows.tsv", "text\tnoun\tno, verb\tother", [f"text {n}\t{n % 2}\t{n % 3 // 2}\tx" for n in range(60)]
    )
    data = load("multilabel", path="rows.tsv", columns={"text": "text", "labels": ["no, verb", "noun"]})
    assert data.label_names == ("no, verb", "noun")
    examples = data.splits["train"].examples
    assert str(examples.features["label"]) == "List(Value('int8'))"
    assert all(
        label == [int(text.split()[1]) % 3 // 2, int(text.split()[1]) % 2]
        for text, label in zip(examples["text"], examples["label"], strict=True)
    )
    verbs, nouns = map(sum, zip(*examples["label"], strict=True))
    assert data.record.splits[0].labels == {"no, verb": verbs, "noun": nouns}
    message = fails(task="multilabel", path="rows.tsv", columns={"text": "text", "labels": ["noun", "other"]})
    assert message == "rows.tsv:2:other: found 'x', a label that holds is 1, another 0"
    assert "no column 'nuon' (data.columns.labels)" in fails(
        task="multilabel", path="rows.tsv", columns={"text": "text", "labels": ["nuon"]}
    )


def test_minimal_pairs_are_shown_in_an_order_that_tells_nothing(work: Path) -> None:
    rows = [{"good": f"They sing {n}.", "bad": f"They sings {n}.", "kind": "ab"[n % 2]} for n in range(400)]
    (work / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"text": "good", "text_pair": "bad"}
    data = load("blimp", path="rows.jsonl", columns=columns, train=None, slices=["kind"])
    examples = data.splits["test"].examples
    assert data.label_names == ("first", "second")
    assert 160 < sum(examples["label"]) < 240
    for row, first, second, label in zip(
        examples["row"], examples["text"], examples["text_pair"], examples["label"], strict=True
    ):
        number = int(row.partition("/")[2])
        assert [(first, second), (second, first)][label] == (rows[number]["good"], rows[number]["bad"])
        assert examples["slice:kind"][number] == rows[number]["kind"]
    (work / "less.jsonl").write_text("\n".join(map(json.dumps, rows[100:])))
    less = load("blimp", path="less.jsonl", columns=columns, train=None).splits["test"].examples
    assert list(less["label"]) == list(examples["label"])[100:], "the order of a pair depends on other rows"


# Texts without labels


def write_articles(path: Path, articles: range, sentences: int = 8) -> Path:
    """Write articles of different sentences, parted by headings."""
    path.write_text(
        "".join(
            f"\n = Article {number} = \n\n"
            + " ".join(
                f"The {WORDS[part % len(WORDS)]} of article {number} is part {part}." for part in range(sentences)
            )
            + "\n"
            for number in articles
        )
    )
    return path


def test_a_text_file_needs_no_columns(work: Path) -> None:
    (work / "rows.txt").write_text("".join(f"Line {n}.\n\n" for n in range(50)))
    data = load("masked-lm", path="rows.txt", columns={}, train={"keep_best": True})
    assert counts_of(data) == {"train": 41, "dev": 4, "test": 5}
    assert data.splits["train"].examples.column_names == ["text", "row"]
    assert (data.label_names, data.record.labels, data.record.splits[0].labels) == ((), [], {})


def test_the_text_column_of_a_table_is_the_document(work: Path) -> None:
    write_table(work / "rows.csv", "text,body", [f"short {n},long text {n}" for n in range(40)])
    assert load("causal-lm", path="rows.csv", columns={}).splits["train"].examples["text"][0].startswith("short")
    stated = load("causal-lm", path="rows.csv", columns={"text": "body"})
    assert stated.splits["train"].examples["text"][0].startswith("long text")
    write_table(work / "rows.csv", "txt", ["a", "b"])
    assert fails(task="causal-lm", path="rows.csv", columns={}) == (
        "rows.csv: no column 'text' (data.columns.text), found are txt; did you mean 'txt'?"
    )


def test_copies_of_a_document_never_stand_on_two_sides(work: Path) -> None:
    (work / "rows.txt").write_text("".join(f"{('Text', 'TEXT', ' text ')[n % 3]} {n // 3}\n" for n in range(150)))
    data = load("masked-lm", path="rows.txt", columns={}, train={"keep_best": True})
    assert data.record.shared_with_train == []
    assert sum(counts_of(data).values()) == 150


def test_one_document_can_not_be_parted(work: Path) -> None:
    (work / "rows.txt").write_text("One line.\nAnd another.\n")
    message = fails(task="masked-lm", path="rows.txt", columns={}, documents="file")
    assert message.startswith("rows.txt: one document only, of which no test can be carved; data.documents says")
    (work / "test.txt").write_text("Other lines.")
    path = {"train": "rows.txt", "test": "test.txt"}
    assert counts_of(load("masked-lm", path=path, columns={}, documents="file")) == {"train": 1, "test": 1}


def test_an_empty_corpus_is_refused(work: Path) -> None:
    (work / "rows.txt").write_text(" \n\n")
    assert fails(task="causal-lm", path="rows.txt", columns={}) == "rows.txt: no documents, no line holds text"


def test_sentences_are_paired_after_their_documents_were_parted(work: Path) -> None:
    write_articles(work / "rows.txt", range(60))
    data = load("nsp", path="rows.txt", columns={}, documents="heading", train={"keep_best": True})
    documents = {part: {text.split()[4] for text in split.examples["text"]} for part, split in data.splits.items()}
    strangers = {part: {text.split()[4] for text in split.examples["text_pair"]} for part, split in data.splits.items()}
    assert [len(found) for found in documents.values()] == [49, 5, 6]
    assert documents == strangers, "a sentence came from a document of another part"
    assert data.label_names == ("IsNext", "NotNext")
    assert data.record.splits[2].labels == {"IsNext": 21, "NotNext": 21}
    assert [split.groups for split in data.record.splits] == [49, 5, 6]
    assert {row.partition("/")[0] for row in rows_of(data, "test")} == {"test"}


def test_rows_that_are_asked_for_are_pairs_where_sentences_are_paired(work: Path) -> None:
    write_articles(work / "rows.txt", range(60))
    data = load("nsp", path="rows.txt", columns={}, documents="heading", max_train_rows=100, max_test_rows=20)
    assert counts_of(data) == {"train": 100, "test": 20}


def test_pairs_have_the_slices_of_their_documents(work: Path) -> None:
    rows = [f'"The cat {n} sat. It was grey. It ran to {n}. Then it slept.",{"ab"[n % 2]}' for n in range(30)]
    write_table(work / "rows.csv", "text,kind", rows)
    data = load("nsp", path="rows.csv", columns={"text": "text"}, slices=["kind"])
    examples = data.splits["test"].examples
    assert data.slice_columns == ("kind",)
    for group, kind in zip(examples["group"], examples["slice:kind"], strict=True):
        assert kind == "ab"[int(group.partition("/")[2]) % 2]


def test_documents_of_one_sentence_make_no_pairs(work: Path) -> None:
    (work / "rows.txt").write_text("".join(f"Just one sentence, number {n}.\n" for n in range(40)))
    message = fails(task="nsp", path="rows.txt", columns={})
    assert message.startswith("rows.txt (train): 36 documents with 36 sentences make 0 pairs of neighbours")


# What is replaced, and what plays which part


def test_texts_are_replaced_before_anything_else_and_it_is_said(work: Path) -> None:
    rows = [f"a<br />{n},b{'<br />' * (n % 2)},{n % 2}" for n in range(20)]
    columns = {"text": "a", "text_pair": "b", "label": "label"}
    write_table(work / "rows.csv", "a,b,label", rows)
    data = load(path="rows.csv", columns=columns, replace={"<br />": " ", "~": ""})
    assert data.record.notes == ["`<br />` replaced by ' ' in 20 rows", "`~` replaced by '' in 0 rows"]
    write_table(work / "rows.csv", "a,b,label", [row.replace("<br />", " ") for row in rows])
    assert fingerprints(load(path="rows.csv", columns=columns)) == fingerprints(data)


def test_a_task_has_its_own_replacements_which_the_recipe_may_change(work: Path) -> None:
    write_table(work / "rows.csv", "text,label", [f"a<br />{n},{n % 2}" for n in range(20)])
    own = load("imdb", path="rows.csv")
    assert "a 3" in own.splits["train"].examples["text"]
    assert own.record.notes == ["`<br />` replaced by ' ' in 20 rows"]
    assert "a<br />3" in load("imdb", path="rows.csv", replace={}).splits["train"].examples["text"]
    write_table(work / "rows.csv", "text,label", [f"a {n},{n % 2}" for n in range(20)])
    assert load("imdb", path="rows.csv").record.notes == []


def test_a_validation_file_of_a_folder_plays_dev_and_is_named(three_files: Path) -> None:
    (three_files / "dev.csv").rename(three_files / "validation.csv")
    data = load(path=str(three_files))
    assert counts_of(data) == {"train": 200, "dev": 30, "test": 40}
    assert data.record.selection == "dev: validation.csv, supplied"
    assert rows_of(data, "dev")[0] == "dev/0"


def test_a_prompt_with_worked_examples_keeps_train_rows_though_nothing_is_trained(own_file: Path) -> None:
    values = {
        "task": "text-classification",
        "model": {"checkpoint": "./m"},
        "data": {"path": str(own_file), "columns": PAIR},
        "train": None,
    }
    found = {}
    for shots in (0, 4):
        recipe = Recipe.model_validate(values | {"evaluate": {"prompt": {"shots": shots}}})
        found[shots] = counts_of(load_data(recipe, get_task(recipe.task)))
    assert found == {0: {"test": 200}, 4: {"train": 180, "test": 20}}


# Real data


@pytest.mark.realdata
def test_cola_is_read_as_published(real_data: Path) -> None:
    data = load("cola")
    train, test = data.record.splits
    assert (train.rows, test.rows) == (8551, 1043)
    assert train.labels == {"unacceptable": 2528, "acceptable": 6023}
    assert train.contradictions == 11
    assert [len(entry.rows) for entry in data.record.shared_with_train] == [18]


@pytest.mark.realdata
def test_cola_rows_of_the_hub_have_the_fingerprint_of_the_files(
    real_data: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hub_cola(work / "cache", real_data)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(work / "cache"))
    hub = load("cola")
    monkeypatch.setenv("FINETUNE_DATA", str(real_data))
    assert fingerprints(hub) == fingerprints(load("cola"))


@pytest.mark.realdata
def test_the_rows_of_cola_that_select_are_a_stratified_tenth_of_train(real_data: Path) -> None:
    data = load("cola", train={"keep_best": True})
    assert counts_of(data)["test"] == 1043
    dev = data.splits["dev"].examples
    # A tenth is 855 rows; four of them stand in the test, which must not select, and stay in train.
    assert len(dev) == 851
    assert len(data.splits["train"].examples) == 8551 - 851
    assert Counter(dev["label"])[0] == pytest.approx(253, abs=2)
    assert not set(dev["text"]) & set(data.splits["test"].examples["text"])
    assert not any(entry.part == "dev" for entry in data.record.shared_with_train)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("sst2", {"train": 67_349, "test": 872}),
        ("imdb", {"train": 5_000, "test": 2_500}),
        ("topic", {"train": 2_001, "test": 222}),
        ("toxicity", {"train": 22_305, "test": 2_478}),
        ("mrpc", {"train": 3_576, "test": 500}),
        ("sick-relatedness", {"train": 4_500, "test": 500}),
        ("cola-phenomena", {"train": 939, "test": 104}),
        ("kant-mlm", {"train": 1_894, "test": 210}),
        ("wikitext2-clm", {"train": 60, "test": 60}),
        ("blimp", {"test": 23_000}),
    ],
)
def test_published_data_of_every_kind_is_read_whole(real_data: Path, task: str, counts: dict[str, int]) -> None:
    data = load(task, train=TRAINED if "train" in counts else None)
    assert counts_of(data) == counts
    assert not any(entry.part == "test" for entry in data.record.shared_with_train) or task in (
        "imdb",
        "sick-relatedness",
    )
