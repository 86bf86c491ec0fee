"""The command `finetune compare`, from two trained runs to its files, and its refusals."""

import json
import re
from pathlib import Path

import pytest

import finetune.cli_compare  # noqa: F401 - the command is part of the app once it is imported
from finetune.comparison_records import Comparison
from finetune.records import SeedSummaryRecord
from finetune.run_dir import RunDir, read_report
from tests.cli_calls import call, write_recipe
from tests.comparison_examples import draw_expected, draw_probabilities, write_pair, write_run

FILES = {"comparison.json", "comparison.md", "comparison.html"}


def compare(*arguments: str | Path) -> tuple[int, str, str]:
    """Call the command with few resamples; return its exit code and what it printed."""
    done = call("compare", *map(str, arguments), "--resamples", "200")
    return done.returncode, done.stdout, done.stderr


def summary_of(entry: SeedSummaryRecord) -> tuple[float | None, ...]:
    """Return mean, spread, and the intervals over seeds, over rows, and over both."""
    return (
        *(entry.mean, entry.standard_deviation, entry.low, entry.high),
        *(entry.rows_low, entry.rows_high, entry.both_low, entry.both_high),
    )


@pytest.fixture
def pair(work: Path) -> list[Path]:
    """Return two finished runs below the working directory."""
    return write_pair(work / "runs", 120)


def test_trained_runs_are_compared_end_to_end(tiny_bert: Path, work: Path) -> None:
    write_recipe(work / "own.yaml", tiny_bert, rows=300)
    runs = [work / "runs" / name for name in ("one", "two", "both")]
    for run, changes in zip(
        runs,
        (["seeds=[1]"], ["seeds=[2]", "train.learning_rate=0.003", "train.max_steps=60"], ["seeds=[1,2]"]),
        strict=True,
    ):
        done = call("run", "own.yaml", *changes, "--out", str(run))
        assert done.returncode == 0, done.stderr
        assert (run / "rows.jsonl").exists()
    # As many resamples as the recipe asks for.
    done = call("compare", *map(str, runs), "--out", str(work / "compared"), "--resamples", "100")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (work / "compared").iterdir()} == FILES
    found = Comparison.model_validate_json((work / "compared" / "comparison.json").read_text(encoding="utf-8"))
    assert found.n == 30 and found.rows == "all 30 test rows"
    assert [run.name for run in found.runs] == ["one", "two", "both"]
    assert [run.settings["seeds"] for run in found.runs] == ["[1]", "[2]", "[1, 2]"]
    assert [run.settings["train.learning_rate"] for run in found.runs] == ["0.001", "0.003", "0.001"]
    # What the runs reported of themselves, intervals included.
    for path, run in zip(runs[:2], found.runs, strict=False):
        report = read_report(RunDir(path))
        reported = [score for score in report.scores if score.slice == "all"]
        assert [(score.name, score.value, score.low, score.high) for score in run.scores] == [
            (score.name, score.value, score.low, score.high) for score in reported
        ]
    reported = {entry.name: entry for entry in read_report(RunDir(runs[2])).seed_summaries if entry.slice == "all"}
    assert {entry.name: summary_of(entry) for entry in found.runs[2].seed_summaries} == {
        name: summary_of(entry) for name, entry in reported.items()
    }
    assert found.pairs[0].differing and found.pairs[0].examples
    texts = {row.text for pair in found.pairs for row in pair.examples}
    assert all(re.fullmatch(r"[A-Z][a-z ]+ \d+\.", text) for text in texts)
    assert found.command.startswith("finetune compare ")
    assert "comparison.html" in done.stdout


def test_files_lie_beside_the_first_run_unless_told_otherwise(pair: list[Path]) -> None:
    for _ in range(2):
        code, printed, errors = compare(*pair)
        assert (code, errors) == (0, "")
    folders = sorted(path for path in pair[0].parent.iterdir() if path.name.startswith("comparison-"))
    assert len(folders) == 2
    for folder in folders:
        assert re.fullmatch(r"comparison-\d{8}-\d{6}(-2)?", folder.name)
        assert {path.name for path in folder.iterdir()} == FILES
    assert "second is better than first: " in " ".join(printed.split())


def test_json_is_the_record_and_nothing_else(pair: list[Path]) -> None:
    code, printed, errors = compare(*pair, "--json")
    assert (code, errors) == (0, "")
    found = Comparison.model_validate_json(printed)
    assert found.pairs[0].better == "second"
    assert {path.name for path in pair[0].parent.iterdir()} == {"first", "second"}
    code, printed, _ = compare(*pair, "--json", "--out", pair[0].parent / "files")
    assert {path.name for path in (pair[0].parent / "files").iterdir()} == FILES
    again = json.loads(printed)
    assert again == json.loads((pair[0].parent / "files" / "comparison.json").read_text(encoding="utf-8"))


def test_no_file_is_ever_written_over(pair: list[Path]) -> None:
    code, _, errors = compare(*pair, "--out", pair[1])
    assert code == 73
    assert errors == f"finetune: {pair[1]}: the folder isn't empty; choose another with --out\n"
    file = pair[0].parent / "file"
    file.touch()
    code, _, errors = compare(*pair, "--out", file)
    assert code == 73 and "a file stands where the folder" in errors
    code, _, errors = compare(*pair, "--out", file / "below")
    assert code == 73 and len(errors.splitlines()) == 1


def test_options_reach_the_comparison(pair: list[Path]) -> None:
    expected = draw_expected(100)
    other = write_run(pair[0].parent / "other", expected, [draw_probabilities(expected, 1.0, 4)])
    code, _, errors = compare(pair[0], other)
    assert code == 65 and "--intersection compares those that they share" in errors
    code, printed, _ = compare(pair[0], other, "--intersection", "--metric", "log_loss", "--json")
    found = Comparison.model_validate_json(printed)
    assert code == 0 and found.n < 120 and found.metric == "log_loss" and found.resamples == 200


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["first"], 2, "two runs or more, found 1"),
        ([], 2, "Missing argument"),
        (["first", "first"], 2, "named twice"),
        (["first", "nowhere"], 66, "no such run folder"),
        (["first", "."], 66, "it is no run folder"),
        (["first", "second", "--metric", "acuracy"], 2, "did you mean 'accuracy'?"),
        (["first", "second", "--resamples", "5"], 2, "allowed are 100 or more"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_with_its_code(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(pair[0].parent)
    done = call("compare", *arguments)
    assert done.returncode == code
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert {path.name for path in Path().iterdir()} == {"first", "second"}
