"""`finetune evaluate --split --require`: which rows are measured, and what their scores must be."""

import json
import operator
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finetune.errors import RequirementError, UsageError
from finetune.metrics import METRICS
from finetune.requirements import FIELDS, OPERATORS, check_requirements, parse_requirement, refuse_unmet
from finetune.scores import pick
from tests.cli_calls import ROOT, Outcome, bytes_below, call, write_recipe
from tests.report_examples import SLICES, five_seeds, single_seed, undefined
from tests.tiny import write_rows

# Reading


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy>=0.7", ("accuracy", "all", "value", ">=", 0.7, "0.7")),
        ("matthews_correlation.low>=0.40", ("matthews_correlation", "all", "low", ">=", 0.4, "0.40")),
        ("log_loss.high < 1", ("log_loss", "all", "high", "<", 1.0, "1")),
        ("accuracy.low@in-domain>=0.6", ("accuracy", "in-domain", "low", ">=", 0.6, "0.6")),
        (" brier @ source: gj04 <= 2e-1 ", ("brier", "source: gj04", "value", "<=", 0.2, "2e-1")),
        ("f1@length: 5 <= n < 8 > -.5", ("f1", "length: 5 <= n < 8", "value", ">", -0.5, "-.5")),
        ("recall.value@a.b@c>0", ("recall", "a.b@c", "value", ">", 0.0, "0")),
    ],
)
def test_a_requirement_is_read_as_it_is_written(text: str, parts: tuple) -> None:
    found = parse_requirement(text)
    read = (found.metric, found.slice, found.field, found.operator, found.bound, found.bound_text)
    assert read == parts


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("accuracy", "no operator, allowed are >= <= > <; write metric[.low|.high][@slice]"),
        ("accuracy==0.5", "no operator"),
        ("", "'': no operator"),
        ("acuracy>0.5", "no metric is called 'acuracy'; did you mean 'accuracy'?"),
        ("acuracy>0.5", "; did you mean 'accuracy'?"),
        (">0.5", "no metric is called ''"),
        ("accuracy.lo>0.5", "a score has no 'lo', allowed are value, low, high; did you mean 'low'?"),
        ("accuracy.>0.5", "nothing behind the dot; write metric"),
        ("accuracy@>0.5", "no slice behind the @"),
        ("accuracy>half", "'half' is no number"),
        ("accuracy>nan", "'nan' is no number"),
        ("accuracy<inf", "'inf' is no number"),
        ("accuracy>", "'' is no number"),
        ("accuracy>=0.5=", "'0.5=' is no number"),
    ],
)
def test_a_wrong_part_is_named_with_what_is_allowed(text: str, saying: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_requirement(text)
    assert saying in str(caught.value) and str(caught.value).startswith("--require ")


PIECES = st.lists(
    st.one_of(st.sampled_from([*METRICS, *FIELDS, *OPERATORS, ".", "@", " ", "0.5", "-1e9", "nan", "\n"]), st.text(max_size=6)),
    max_size=8,
)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.text(), PIECES.map("".join)))
@example("accuracy>=\ud800")
@example("accuracy@\n>=0.5")
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        found = parse_requirement(text)
    except UsageError as refusal:
        assert "\n" not in str(refusal) and len(str(refusal)) < 700
        return
    assert found.metric in METRICS and found.field in FIELDS and found.operator in OPERATORS
    assert found.slice and found.bound == float(found.bound_text)


# Judging

REPORT = single_seed()


def judge(report: object, *texts: str) -> list[str]:
    return [found.sentence for found in check_requirements([parse_requirement(text) for text in texts], report)]  # type: ignore[arg-type]


def test_each_requirement_gets_a_sentence_with_the_score_beside_its_bound() -> None:
    assert judge(REPORT, "accuracy>=0.70", "accuracy.low >= 0.7", "log_loss<0.5", f"f1.high@{SLICES[0]}>0.5") == [
        "met: Accuracy 0.716 >= 0.70",
        "not met: Accuracy low 0.689 >= 0.7",
        "not met: Log loss 0.571 < 0.5",
        f"met: F1 high on {SLICES[0]} 0.870 > 0.5",
    ]


def test_a_score_that_rounds_to_its_bound_is_shown_with_the_decimals_that_tell() -> None:
    accuracy = pick(REPORT.scores, "accuracy")
    assert accuracy is not None and accuracy.value == 0.7162
    assert judge(REPORT, "accuracy<0.7162", "accuracy<=0.7162", "accuracy<0.716", "accuracy>0.716") == [
        "not met: Accuracy 0.7162 < 0.7162",
        "met: Accuracy 0.716 <= 0.7162",
        "not met: Accuracy 0.716 < 0.716",
        "met: Accuracy 0.7162 > 0.716",
    ]


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(OPERATORS)))
@example(0.3999999, 0.4, ">=")
@example(0.1 + 0.2, 0.3, "<=")
def test_what_is_shown_never_contradicts_the_verdict(value: float, bound: float, sign: str) -> None:
    report = single_seed()
    scores = [
        score.model_copy(update={"value": value}) if score.name == "accuracy" else score for score in report.scores
    ]
    (finding,) = check_requirements(
        [parse_requirement(f"accuracy{sign}{bound!r}")], report.model_copy(update={"scores": scores})
    )
    compare = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}[sign]
    left, _, right = finding.text.removeprefix("Accuracy ").partition(f" {sign} ")
    assert finding.is_met == compare(value, bound) == compare(float(left), float(right))
    assert abs(float(left) - value) < 0.001


def test_an_undefined_score_meets_nothing_and_says_why() -> None:
    said = judge(undefined(), "matthews_correlation>=-1", "accuracy.low>=0", "accuracy>=0")
    assert said == [
        "not met: Matthews correlation is undefined (only one class in the labels)",
        "not met: Accuracy low is undefined (undefined in 12.5% of the resamples, allowed are 5%)",
        "met: Accuracy 0.716 >= 0",
    ]


def test_of_several_seeds_the_ensemble_is_held_against_the_bound() -> None:
    report = five_seeds()
    value = pick(report.scores, "accuracy", predictor="ensemble of seeds").value  # type: ignore[union-attr]
    others = [score.value for score in report.scores if score.name == "accuracy" and score.predictor.startswith("seed")]
    assert value not in others
    assert judge(report, "accuracy>0") == [f"met: Accuracy of the ensemble of seeds {value:.3f} > 0"]


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("macro_f1>0", "macro_f1 was not measured, in the report are matthews_correlation, accuracy"),
        ("accuracy@in-domian>0", "no slice is called 'in-domian', in the report are all, in-domain"),
        ("accuracy@in-domian>0", "did you mean 'in-domain'?"),
        ("accuracy@majority class>0", "no slice is called 'majority class'"),
    ],
)
def test_what_was_not_measured_is_wrong_use(text: str, saying: str) -> None:
    with pytest.raises(UsageError, match="--require") as caught:
        judge(five_seeds(), text)
    assert saying in str(caught.value) and "\n" not in str(caught.value)


def test_unmet_requirements_are_one_error_in_one_line() -> None:
    def refuse(*texts: str) -> None:
        refuse_unmet(check_requirements([parse_requirement(text) for text in texts], REPORT))

    refuse()
    refuse("accuracy>0", "f1>0")
    with pytest.raises(RequirementError) as caught:
        refuse("accuracy>0", "f1>1")
    assert str(caught.value) == "1 of 2 requirements is not met: F1 0.818 > 1"
    with pytest.raises(RequirementError) as caught:
        refuse("accuracy>1", "f1>1")
    assert str(caught.value) == "2 of 2 requirements are not met: Accuracy 0.716 > 1; F1 0.818 > 1"
    with pytest.raises(RequirementError) as caught:
        refuse("accuracy>1")
    assert str(caught.value) == "1 of 1 requirement is not met: Accuracy 0.716 > 1"


# The command


@pytest.fixture(scope="module")
def home(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a working directory with a run whose weights and seed dev chose, on rows that all come from one file."""
    folder = tmp_path_factory.mktemp("measured")
    write_recipe(folder / "r.yaml", tiny_bert, rows=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("FINETUNE_DATA", raising=False)
        chosen = ("train.keep_best=true", "train.evaluate_every=2", "seeds=2", "data.max_train_rows=150")
        done = call("run", "r.yaml", *chosen, "--out", "run")
        assert done.returncode == 0, done.stderr
        yield folder


def evaluate(home: Path, out: Path, *options: str, run: str = "run") -> Outcome:
    return call("evaluate", str(home / run), "--out", str(out), *options)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(out: Path) -> list[str]:
    return [json.loads(line)["row"] for line in (out / "predictions.jsonl").read_text().splitlines()]


def fingerprint_of(report: dict, part: str) -> str:
    return next(split["fingerprint"] for split in report["data"]["splits"] if split["part"] == part)


@pytest.mark.parametrize("part", ["dev", "train", "test"])
def test_each_part_of_the_runs_own_rows_can_be_measured(home: Path, tmp_path: Path, part: str) -> None:
    done = evaluate(home, tmp_path / "out", "--split", part)
    assert done.returncode == 0, done.stderr
    before, now = read_json(home / "run/report.json"), read_json(tmp_path / "out/report.json")
    assert fingerprint_of(now, "test") == fingerprint_of(before, part), "exactly the rows that the run used"
    counts = {split["part"]: split["rows"] for split in before["data"]["splits"]}
    assert len(set(rows_of(tmp_path / "out"))) == counts[part] == now["scores"][0]["n"]
    assert now["name"] == f"r on its {part} rows"
    if part == "dev":
        assert now["warnings"][0] == "These dev rows chose its weights and its seed: the scores flatter the model."
        # The saved model is the seed that scored best on these very rows.
        best = max(before["seeds"], key=lambda seed: seed["dev_score"])
        assert now["saved_seed"] == best["seed"]
        measured = next(score for score in now["scores"] if score["name"] == "macro_f1")
        assert measured["value"] == pytest.approx(best["dev_score"], abs=1e-6)
    elif part == "train":
        assert now["warnings"][0].startswith("These are the rows that the model was trained on")
        assert not set(rows_of(tmp_path / "out")) & set(rows_of(home / "run"))
    else:
        assert rows_of(tmp_path / "out") == rows_of(home / "run")
        assert not any("dev rows" in warning for warning in now["warnings"])


def test_the_parts_of_a_run_share_no_row(home: Path) -> None:
    parts = {part: set(rows_of(home / f"{part}-out")) for part in ("dev", "train", "test")
             if evaluate(home, home / f"{part}-out", "--split", part).returncode == 0}  # fmt: skip
    assert len(parts) == 3
    assert sum(map(len, parts.values())) == len(set().union(*parts.values()))


def test_a_run_without_dev_has_no_dev_rows(home: Path, tmp_path: Path) -> None:
    assert call("run", "r.yaml", "train.max_steps=1", "--out", str(tmp_path / "plain")).returncode == 0
    done = call("evaluate", str(tmp_path / "plain"), "--split", "dev", "--out", str(tmp_path / "out"))
    assert done.returncode == 65 and done.stderr.count("\n") == 1, done.stderr
    assert "the run has no dev rows, only train and test (nothing was selected" in done.stderr
    assert not (tmp_path / "out").exists()


def test_rows_that_have_changed_since_the_run_are_refused(home: Path, tmp_path: Path) -> None:
    whole = (home / "rows.csv").read_bytes()
    try:
        write_rows(home / "rows.csv", 200, seed=9)
        for part in ("dev", "train"):
            done = evaluate(home, tmp_path / "out", "--split", part)
            assert done.returncode == 65 and f"the {part} rows have changed since the run" in done.stderr
    finally:
        (home / "rows.csv").write_bytes(whole)
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_folder_is_measured(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for part, rows in {"train": 30, "dev": 20, "test": 12}.items():
        write_rows(folder / f"{part}.csv", rows, seed=rows)
    for part, rows in {"train": 30, "dev": 20, "test": 12}.items():
        done = evaluate(home, tmp_path / part, "--data", str(folder), "--split", part)
        assert done.returncode == 0, done.stderr
        assert len(rows_of(tmp_path / part)) == rows
        warnings = read_json(tmp_path / part / "report.json")["warnings"]
        assert not any(text.startswith("These") for text in warnings), "they had no part in the run"
    for name in ("dev.csv", "test.csv"):
        (folder / name).unlink()
    assert evaluate(home, tmp_path / "alone", "--data", str(folder), "--split", "train").returncode == 0
    (folder / "train.csv").rename(folder / "test.csv")
    done = evaluate(home, tmp_path / "none", "--data", str(folder), "--split", "dev")
    assert done.returncode == 66 and "no dev.* in this folder, only test" in done.stderr
    done = evaluate(home, tmp_path / "none", "--data", str(folder / "test.csv"), "--split", "dev")
    assert done.returncode == 2 and "is one file, all of whose rows are measured" in done.stderr
    assert evaluate(home, tmp_path / "none", "--split", "exam").returncode == 2
    assert not (tmp_path / "none").exists()


def test_met_requirements_exit_0_and_unmet_ones_4_after_all_are_said(home: Path, tmp_path: Path) -> None:
    before = bytes_below(home / "run")
    done = evaluate(home, tmp_path / "met", "--require", "accuracy>=0.0", "--require", "accuracy.high <= 1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nmet: Accuracy") == 2 and done.stderr == ""
    done = evaluate(
        home, tmp_path / "unmet", "--require", "accuracy>1", "--require", "log_loss<9", "--require", "macro_f1>1"
    )
    assert done.returncode == 4
    assert done.stdout.count("\nnot met: ") == 2 and "\nmet: Log loss " in done.stdout
    assert done.stderr.startswith("finetune: 2 of 3 requirements are not met: Accuracy 0.")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "unmet/report.html").exists(), "the report is there to see why"
    assert bytes_below(home / "run") == before


def test_a_slice_that_the_report_lacks_is_2(home: Path, tmp_path: Path) -> None:
    done = evaluate(home, tmp_path / "out", "--require", "accuracy@nowhere>0")
    assert done.returncode == 2 and "no slice is called 'nowhere', in the report are all" in done.stderr


def test_a_requirement_that_can_not_be_read_is_2_before_anything_is_computed(home: Path) -> None:
    code = (
        "import sys; from finetune.exits import main\n"
        "sys.argv = ['finetune', 'evaluate', 'run', '--require', 'accuracy>=0.5', '--require', 'accuracy.top>=0.5']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'torch', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)))"
    )
    before = sorted(home.iterdir())
    for text in ("accuracy.top>=0.5", "f1>=0.5"):
        assert call("evaluate", "run", "--require", text).returncode == 2
    assert sorted(home.iterdir()) == before
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == "[]\n", done.stderr
    assert "a score has no 'top'" in done.stderr and done.stderr.count("\n") == 1
    assert sorted(home.iterdir()) == before
