"""What has changed since a run began: found, refused with both values, or allowed and recorded."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from finetune import load_recipe
from finetune.changes import Change, find_changed_values, refuse_changes, refuse_cut_weights
from finetune.errors import RecipeError, UnavailableError
from finetune.machine import digest_of_code
from finetune.recipe import Recipe
from finetune.resolved import write_resolved_recipe
from finetune.run_dir import RunDir
from tests.cli_calls import bytes_below, call, write_recipe
from tests.tiny import write_rows

LEAST = "task: cola\nmodel: {checkpoint: ./tiny}\n"


def read(work: Path, *overrides: str) -> Recipe:
    (work / "r.yaml").write_text(LEAST)
    return load_recipe(work / "r.yaml", overrides).recipe


def test_a_changed_value_is_found_with_both_values_and_a_note_may_change(work: Path) -> None:
    write_resolved_recipe(read(work), RunDir(work).recipe)
    assert find_changed_values(read(work, "note=other", "data.path=./moved.csv"), RunDir(work)) == []
    assert find_changed_values(read(work, "train.learning_rate=1e-4"), RunDir(work)) == [
        Change("train.learning_rate", 2e-05, 0.0001)
    ]


def test_a_key_that_an_older_version_did_not_know_had_its_default(work: Path) -> None:
    written = RunDir(work).recipe
    write_resolved_recipe(read(work), written)
    text = written.read_text()
    older = "\n".join(line for line in text.splitlines() if "temperature" not in line and "threshold" not in line)
    assert older.count("\n") == text.count("\n") - 3
    written.write_text(f"{older}\n")
    assert find_changed_values(read(work), RunDir(work)) == []
    asked = read(work, "evaluate.temperature=true")
    assert [str(change) for change in find_changed_values(asked, RunDir(work))] == [
        "evaluate.temperature: was False, now True"
    ]
    written.write_text("task: 3\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: not a recipe of this program: task"):
        find_changed_values(read(work), RunDir(work))


def test_what_may_change_is_named_by_its_field_or_a_section_above_it() -> None:
    rate, torch = Change("train.learning_rate", 1, 2), Change("versions.torch", "2.13", "2.14")
    told = ["train.learning_rate: was 1, now 2", "versions.torch: was 2.13, now 2.14"]
    assert refuse_changes([rate, torch], ["train.learning_rate", "versions"]) == told
    assert refuse_changes([], ["train"]) == []
    for allowed in ([], ["train.learning", "version", "torch", "train.learning_rate.more"]):
        with pytest.raises(RecipeError) as caught:
            refuse_changes([rate, torch], allowed)
        assert [problem.partition(";")[0] for problem in caught.value.problems] == told
        assert "--allow-change versions.torch" in caught.value.problems[1]


@pytest.mark.parametrize("switch", [{"ACCELERATE_USE_FSDP": "true"}, {"ACCELERATE_USE_DEEPSPEED": "true"}])
def test_cut_weights_are_not_resumed(monkeypatch: pytest.MonkeyPatch, switch: dict[str, str]) -> None:
    refuse_cut_weights()
    for name, value in switch.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnavailableError, match="can't be resumed"):
        refuse_cut_weights()


@pytest.fixture(scope="module")
def interrupted(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe and a run of it that was stopped before its report."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_recipe(folder / "r.yaml", tiny_bert)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("run", "r.yaml", "--out", "run").returncode == 0
    status = json.loads((folder / "run/status.json").read_text())
    (folder / "run/status.json").write_text(json.dumps({**status, "state": "stopped", "exit_code": 75}))
    for name in ("training.json", "predictions.jsonl", "report.json"):
        (folder / "run" / name).unlink()
    return folder


@pytest.fixture
def stopped(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refuse(stopped: Path, saying: str, *arguments: str) -> None:
    before = bytes_below(stopped)
    done = call("run", "r.yaml", "--out", "run", "--resume", *arguments)
    assert (done.returncode, done.stdout) == (78, ""), done
    assert saying in done.stderr and "Traceback" not in done.stderr
    assert bytes_below(stopped) == before


def test_what_changed_is_refused_and_nothing_is_touched(stopped: Path) -> None:
    refuse(stopped, "train.learning_rate: was 0.001, now 0.5;", "train.learning_rate=0.5")
    began = json.loads((stopped / "run/beginning.json").read_text())
    assert began["code"] == digest_of_code() and began["processes"] == 1
    changed = {**began, "code": "0" * 64, "versions": {**began["versions"], "torch": "1.0"}, "processes": 3}
    (stopped / "run/beginning.json").write_text(json.dumps(changed))
    for line in ("code: was 000000000000, now ", "versions.torch: was 1.0, now ", "processes: was 3, now 1;"):
        refuse(stopped, line)
    write_rows(stopped / "rows.csv", 60, seed=1)
    refuse(stopped, "rows.train: was ", "--allow-change", "code")


def test_what_was_allowed_to_change_takes_effect_and_stands_in_the_report(stopped: Path) -> None:
    done = call(
        "run", "r.yaml", "train.learning_rate=0.5", "--out", "run", "--resume", "--allow-change", "train.learning_rate"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((stopped / "run/report.json").read_text())
    assert "changed when resumed: train.learning_rate: was 0.001, now 0.5" in report["provenance"]["notes"]
    assert "learning_rate: 0.5" in (stopped / "run/recipe.yaml").read_text()
    assert call("run", "r.yaml", "--out", "other", "--allow-change", "seeds").returncode == 2


def test_a_run_killed_as_it_began_is_taken_up_by_resume_auto(stopped: Path) -> None:
    (stopped / "new").mkdir()
    (stopped / "new/run.lock").write_text(f"999999999@{socket.gethostname()}")
    done = call("run", "r.yaml", "--out", "new", "--resume=auto")
    assert done.returncode == 0, done.stderr
    assert (stopped / "new/report.json").is_file()
