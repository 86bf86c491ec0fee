"""Answers for GLUE: the leaderboard's names and words, its rows in its order, and a refusal of anything else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finetune.cli_share  # noqa: F401 - its commands are asked for below
from finetune import load_run
from finetune.errors import DataError
from finetune.glue_files import list_glue_tasks, read_test_rows, render_submission
from finetune.record_files import write_record
from finetune.run_dir import RunDir, read_report
from finetune.task import GlueSubmission, get_task
from tests.cli_calls import bytes_below, call
from tests.tiny import build_sentences, write_cola_like

# The names and words that the leaderboard takes: nyu-mll/GLUE-baselines, src/main.py, and jiant's file list.
FILES = {
    "CoLA.tsv": {"0", "1"},
    "SST-2.tsv": {"0", "1"},
    "MRPC.tsv": {"0", "1"},
    "QQP.tsv": {"0", "1"},
    "WNLI.tsv": {"0", "1"},
    "RTE.tsv": {"entailment", "not_entailment"},
    "QNLI.tsv": {"entailment", "not_entailment"},
    "MNLI-m.tsv": {"entailment", "neutral", "contradiction"},
    "MNLI-mm.tsv": {"entailment", "neutral", "contradiction"},
}
COLA = GlueSubmission("CoLA.tsv", {"unacceptable": "0", "acceptable": "1"}, ("sentence",))
PAIRS = GlueSubmission("RTE.tsv", {}, ("sentence1", "sentence2"))
BRIEF = ["train.max_steps=60", "train.learning_rate=3e-3", "train.precision=fp32", "data.max_length=null"]


@pytest.fixture(scope="module")
def cola_run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the task cola, its model a tiny one."""
    work = tmp_path_factory.mktemp("cola")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setenv("FINETUNE_DATA", str(write_cola_like(work / "data")))
        (work / "r.yaml").write_text(f"task: cola\nmodel: {{checkpoint: {tiny_bert}}}\nevaluate: {{bootstrap: 100}}\n")
        done = call("run", str(work / "r.yaml"), *BRIEF, "--out", str(work / "run"))
    assert done.returncode == 0, done.stderr
    return work / "run"


def write_test_rows(path: Path, texts: list[str]) -> Path:
    path.write_text("index\tsentence\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts)))
    return path


def submit(run: Path, *arguments: str) -> str:
    done = call("submission", str(run), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_refused(code: int, *arguments: str) -> str:
    """Run the command, which has to fail with one line and write nothing; return that line."""
    before = bytes_below(Path())
    done = call("submission", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("finetune: ") and done.stderr.count("\n") == 1, done.stderr
    assert bytes_below(Path()) == before
    return done.stderr


@pytest.mark.parametrize("name", list_glue_tasks())
def test_a_task_of_glue_has_the_leaderboards_file_name_and_words(name: str) -> None:
    task = get_task(name)
    assert task.glue is not None and task.labels is not None
    assert set(task.glue.words.values()) == FILES[task.glue.file]
    assert list(task.glue.words) == list(task.labels.values())


def test_cola_is_in_glue_and_the_books_version_of_it_is_not() -> None:
    assert "cola" in list_glue_tasks()
    assert "cola-book" not in list_glue_tasks()


def test_the_answers_of_predict_stand_in_the_order_of_the_test_rows(cola_run: Path, work: Path) -> None:
    texts = [text for text, _ in build_sentences(90, seed=3)]
    texts[7] = 'a "quoted, half'
    out = submit(cola_run, "--data", str(write_test_rows(work / "test.tsv", texts)), "--out", "answers")
    written = (work / "answers/CoLA.tsv").read_bytes().decode()
    header, *lines = written.split("\n")
    assert header == "index\tprediction" and lines.pop() == "" and "\r" not in written
    assert [line.split("\t")[0] for line in lines] == [str(number) for number in range(90)]
    expected = [COLA.words[answer.label] for answer in load_run(cola_run).predict(texts)]
    assert set(expected) == {"0", "1"}, "answers that are all alike have no order to get wrong"
    assert [line.split("\t")[1] for line in lines] == expected
    assert f"90 rows (0: {expected.count('0')}, 1: {expected.count('1')})" in out


def test_by_default_the_answers_lie_beside_the_run(cola_run: Path, work: Path) -> None:
    before = set(cola_run.parent.iterdir())
    submit(cola_run, "--data", str(write_test_rows(work / "test.tsv", ["The dog sings."])))
    (folder,) = set(cola_run.parent.iterdir()) - before
    assert folder.name.startswith("run-submission-") and [path.name for path in folder.iterdir()] == ["CoLA.tsv"]


def test_a_file_of_another_task_may_stay_beside_the_answers(cola_run: Path, work: Path) -> None:
    (work / "answers").mkdir()
    (work / "answers/RTE.tsv").write_text("index\tprediction\n")
    submit(cola_run, "--data", str(write_test_rows(work / "test.tsv", ["The dog sings."])), "--out", "answers")
    assert sorted(path.name for path in (work / "answers").iterdir()) == ["CoLA.tsv", "RTE.tsv"]


def test_answers_that_are_there_already_are_kept(cola_run: Path, work: Path) -> None:
    (work / "answers").mkdir()
    (work / "answers/CoLA.tsv").write_text("mine")
    rows = write_test_rows(work / "test.tsv", ["The dog sings."])
    said = assert_refused(73, str(cola_run), "--data", str(rows), "--out", "answers")
    assert "answers/CoLA.tsv: already there" in said


def test_a_folder_that_cannot_be_made_is_73(cola_run: Path, work: Path) -> None:
    rows = write_test_rows(work / "test.tsv", ["The dog sings."])
    assert "can't be created" in assert_refused(73, str(cola_run), "--data", str(rows), "--out", "test.tsv/answers")


def with_report(run: Path, target: Path, **changes: object) -> Path:
    """Write the report of a run, changed, into a folder of its own."""
    target.mkdir()
    write_record(RunDir(target).report, read_report(RunDir(run)).model_copy(update=changes))
    return target


def test_a_task_outside_glue_is_refused_with_those_inside(cola_run: Path, work: Path) -> None:
    run = with_report(cola_run, work / "other", task="cola-book")
    said = assert_refused(2, str(run), "--data", str(write_test_rows(work / "test.tsv", ["x"])))
    assert "the run's task cola-book is not in GLUE; tasks that are: cola" in said


def test_a_task_that_this_version_knows_no_more_is_refused_alike(cola_run: Path, work: Path) -> None:
    run = with_report(cola_run, work / "other", task="forgotten")
    assert "task forgotten is not in GLUE" in assert_refused(
        2, str(run), "--data", str(write_test_rows(work / "test.tsv", ["x"]))
    )


def test_labels_that_the_leaderboard_does_not_know_are_refused(cola_run: Path, work: Path) -> None:
    data = read_report(RunDir(cola_run)).data.model_copy(update={"labels": ["bad", "acceptable"]})
    run = with_report(cola_run, work / "other", data=data)
    said = assert_refused(65, str(run), "--data", str(write_test_rows(work / "test.tsv", ["x"])))
    assert "the run has the label 'bad'; the leaderboard knows 'unacceptable', 'acceptable'" in said


def test_no_run_and_no_file_are_66(cola_run: Path, work: Path) -> None:
    rows = write_test_rows(work / "test.tsv", ["x"])
    assert "no such run" in assert_refused(66, "nowhere", "--data", str(rows))
    assert "did you mean 'test.tsv'?" in assert_refused(66, str(cola_run), "--data", "tset.tsv", "--out", "answers")


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        ("index\tsentence\n1\ta\n2\tb\n", "test.tsv:2:index: found '1', 0 is expected"),
        ("index\tsentence\n0\ta\n2\tb\n", "test.tsv:3:index: found '2', 1 is expected"),
        ("index\tsentence\n0\ta\n00\tb\n", "test.tsv:3:index: found '00', 1 is expected"),
        ("index\tsentence\n0\ta\n0\tb\n", "test.tsv:3:index: found '0', 1 is expected"),
        ("idx\tsentence\n0\ta\n", "test.tsv: no column 'index', as GLUE's test file has it; it holds 'idx'"),
        ("index\tsentences\n0\ta\n", "no column 'sentence', as GLUE's test file has it; it holds 'index', 'sentences'; "
                                     "did you mean 'sentences'?"),
        ("index\tsentence\n0\ta\tb\n", "test.tsv:2: 3 cells, 2 expected"),
        ("index\tsentence\n", "no rows"),
    ],
)  # fmt: skip
def test_rows_that_are_not_glues_are_refused_by_their_place(
    content: str, saying: str, cola_run: Path, work: Path
) -> None:
    (work / "test.tsv").write_text(content)
    assert saying in assert_refused(65, str(cola_run), "--data", "test.tsv", "--out", "answers")


def test_a_null_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"index": 0, "sentence": None}) + "\n")
    with pytest.raises(DataError, match=r"test\.jsonl:1:sentence: no text"):
        read_test_rows(path, COLA)


def test_a_task_of_two_texts_reads_pairs_in_the_order_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("index\tsentence2\tsentence1\n0\tb\ta\n1\t\tc\n")
    assert read_test_rows(path, PAIRS) == [("a", "b"), ("c", "")]


@given(st.lists(st.sampled_from(["0", "1", "not_entailment"])))
def test_every_answer_can_be_read_back_by_its_index(answers: list[str]) -> None:
    lines = render_submission(answers).splitlines()
    assert lines[0].split("\t") == ["index", "prediction"]
    assert {int(index): word for index, word in (line.split("\t") for line in lines[1:])} == dict(enumerate(answers))
