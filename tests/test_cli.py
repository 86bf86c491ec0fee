"""The commands as users meet them, from a first run to a resumed one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from finetune.recipe_list import describe_recipes
from tests.cli_calls import ROOT, bytes_below, call, start, wait_until, write_recipe
from tests.tiny import build_sentences, write_rows


@pytest.fixture(scope="module")
def home(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a working directory where the recipe `own` was run by name, with seed 1."""
    folder = tmp_path_factory.mktemp("home")
    write_recipe(folder / "recipes" / "own.yaml", tiny_bert, rows=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("FINETUNE_DATA", raising=False)
        done = call("run", "own")
        assert done.returncode == 0, done.stderr
        assert "Macro F1" in done.stdout and "report.html" in done.stdout
        assert done.stderr == ""
        yield folder


@pytest.fixture
def run(home: Path) -> Path:
    return home / "runs" / "own" / "latest"


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_writes_everything_that_it_promises(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {
        "recipe.yaml", "status.json", "data.json", "events.jsonl", "predictions.jsonl", "report.json", "report.md", "report.html", "model",
    }  # fmt: skip
    assert json.loads((run / "status.json").read_text())["state"] == "complete"
    assert [event["step"] for event in read_lines(run / "events.jsonl")] == [1, 2, 3, 4]
    assert not [path for path in run.rglob("*") if path.name.startswith(".") or path.suffix in (".bin", ".pt", ".lock")]
    assert not (run / "checkpoints").exists()


def test_predictions_hold_every_test_row_once_in_file_order(run: Path) -> None:
    rows = read_lines(run / "predictions.jsonl")
    numbers = [int(row["row"].partition("/")[2]) for row in rows]
    assert len(numbers) == 20 and numbers == sorted(set(numbers))
    sentences = build_sentences(200)
    assert [row["expected"] for row in rows] == [sentences[number][1] for number in numbers]
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-6)


def test_latest_is_a_relative_link(run: Path) -> None:
    target = Path(os.readlink(run))
    assert not target.is_absolute() and target.parent == Path()


def test_a_plain_pipeline_opens_the_model_and_gives_the_probabilities_of_predict(run: Path) -> None:
    from transformers import pipeline

    texts = ["The dog walks in the house.", "Some farmer sing", "x"]
    done = call("predict", str(run), "--json", *texts)
    assert done.returncode == 0, done.stderr
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    classify = pipeline("text-classification", model=str(run / "model"), top_k=None, device="cpu")
    for text, answer, theirs in zip(texts, ours, classify(texts), strict=True):
        assert answer["text"] == text
        assert {entry["label"] for entry in theirs} == {"acceptable", "unacceptable"}
        for entry in theirs:
            assert answer["probabilities"][entry["label"]] == pytest.approx(entry["score"], abs=1e-6)
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_predict_reproduces_the_probabilities_that_the_run_wrote(run: Path) -> None:
    written = read_lines(run / "predictions.jsonl")[:5]
    sentences = build_sentences(200)
    texts = [sentences[int(row["row"].partition("/")[2])][0] for row in written]
    answers = [json.loads(line) for line in call("predict", str(run), "--json", *texts).stdout.splitlines()]
    for row, answer in zip(written, answers, strict=True):
        np.testing.assert_allclose(list(answer["probabilities"].values()), row["probabilities"], atol=1e-6)


def test_predict_takes_a_file_and_standard_input_alike(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    (tmp_path / "texts.txt").write_bytes("\ufeffA dog walks.\r\nÜber <b>[red]dogs[/] sing\n".encode())
    from_file = call("predict", str(run), "--file", str(tmp_path / "texts.txt"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "texts.txt").read_bytes())))
    from_stdin = call("predict", str(run))
    assert from_file.returncode == 0 and from_file.stdout == from_stdin.stdout
    assert [line.split("\t")[2] for line in from_file.stdout.splitlines()] == [
        "A dog walks.",
        "Über <b>[red]dogs[/] sing",
    ]


def test_predict_prints_no_control_character(run: Path) -> None:
    done = call("predict", str(run), "a \x1b[31mred\x07 dog \x9b walks")
    assert done.returncode == 0
    assert done.stdout.endswith("\ta \\x1b[31mred\\x07 dog \\x9b walks\n")
    assert "\x1b" not in call("predict", str(run), "--json", "a \x1b[31mred dog").stdout


def test_a_run_goes_by_path_with_overrides_and_two_seeds_into_a_stated_folder(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    done = call("run", str(home / "recipes/own.yaml"), "seeds=[1,2]", "train.max_steps=3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "max_steps: 3" in (out / "recipe.yaml").read_text()
    report = json.loads((out / "report.json").read_text())
    assert [seed["seed"] for seed in report["seeds"]] == [1, 2]
    assert (out / "model/config.json").is_file()
    assert report["provenance"]["command"].endswith(f"--out {out}")
    single, other = (read_lines(out / f"seed-{seed}" / "predictions.jsonl") for seed in (1, 2))
    together = read_lines(out / "predictions.jsonl")
    for row, first, second in zip(together, single, other, strict=True):
        np.testing.assert_allclose(
            row["probabilities"], np.mean([first["probabilities"], second["probabilities"]], axis=0), atol=1e-8
        )
    # The second seed is lost: only that one is trained again, and comes out the same.
    before = bytes_below(out / "seed-1")
    lost = (out / "seed-2/predictions.jsonl").read_bytes()
    shutil.rmtree(out / "seed-2")
    status = json.loads((out / "status.json").read_text())
    (out / "status.json").write_text(json.dumps({**status, "state": "failed", "exit_code": 74}))
    done = call(
        "run", str(home / "recipes/own.yaml"), "seeds=[1,2]", "train.max_steps=3", "--out", str(out), "--resume"
    )
    assert done.returncode == 0, done.stderr
    assert bytes_below(out / "seed-1") == before
    assert (out / "seed-2/predictions.jsonl").read_bytes() == lost


def test_a_folder_that_holds_something_is_never_written_to(home: Path, run: Path) -> None:
    before = bytes_below(home)
    for command in (["run", "own"], ["evaluate", str(run), "--data", "recipes/rows.csv"]):
        done = call(*command, "--out", str(run.resolve()))
        assert done.returncode == 73 and done.stderr.count("\n") == 1 and "isn't empty" in done.stderr
    file = home / "recipes/rows.csv"
    assert call("run", "own", "--out", str(file)).returncode == 73
    assert call("run", "own", "--out", str(file / "below")).returncode == 73
    assert bytes_below(home) == before


def test_resume_without_a_run_is_66_and_resume_auto_starts_a_fresh_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "recipes", tmp_path / "recipes")
    done = call("run", "own", "--resume")
    assert done.returncode == 66 and "nothing to resume" in done.stderr and not (tmp_path / "runs").exists()
    assert call("run", "own", "--resume", "--out", "nowhere").returncode == 66
    assert call("run", "own", "--resume=perhaps").returncode == 2
    done = call("run", "own", "--resume=auto", "train.max_steps=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/own/latest/report.json").is_file()


def test_a_finished_run_stays_as_it_is_when_resumed(home: Path, run: Path) -> None:
    before = bytes_below(run.resolve())
    done = call("run", "own", "--resume", "--out", str(run.resolve()))
    assert done.returncode == 0, done.stderr
    assert bytes_below(run.resolve()) == before


def test_a_changed_recipe_is_not_resumed(home: Path, run: Path) -> None:
    before = bytes_below(run.resolve())
    done = call("run", "own", "train.learning_rate=0.5", "seeds=3", "--resume", "--out", str(run.resolve()))
    assert done.returncode == 78
    assert "train.learning_rate: was 0.001, now 0.5" in done.stderr
    assert "seeds: was [1], now [1, 2, 3]" in done.stderr
    assert bytes_below(run.resolve()) == before


LONG = ["train.max_steps=150", "train.save_every=5", "train.learning_rate=1.0e-4"]


def test_a_killed_run_resumes_and_ends_with_the_predictions_of_an_uninterrupted_one(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = start(home, "run", "own", *LONG, "--out", str(out))
    wait_until(lambda: list(out.glob("checkpoints/checkpoint-*/manifest.json")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (out / "run.lock").exists(), "a killed process has no time to tidy up"
    said = call("status", str(out))
    assert said.returncode == 130 and "the process is gone" in said.stdout
    done = call("run", "own", *LONG, "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    assert call("run", "own", *LONG, "--out", str(tmp_path / "whole")).returncode == 0
    assert (out / "predictions.jsonl").read_bytes() == (tmp_path / "whole/predictions.jsonl").read_bytes()
    steps = [event["step"] for event in read_lines(out / "events.jsonl")]
    assert steps == list(range(1, 151)), "no moment is missing or told twice"


def test_ctrl_c_stops_quietly_with_130_and_the_run_can_be_resumed(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    process = start(home, "run", "own", *LONG, "--out", str(out))
    events = out / "events.jsonl"
    wait_until(lambda: events.exists() and events.read_text().count("\n"), process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr and "--resume" in stderr and stderr.count("\n") == 1, stderr
    assert stdout == ""
    status = call("status", str(out))
    assert status.returncode == 130 and status.stdout.startswith("stopped")
    assert not (out / "run.lock").exists() and not (out / "report.json").exists()
    assert call("run", "own", *LONG, "--out", str(out), "--resume").returncode == 0
    assert call("status", str(out)).returncode == 0


def test_a_run_in_use_by_a_living_process_is_refused(home: Path, tmp_path: Path) -> None:
    import socket

    assert call("run", "own", "train.max_steps=1", "--out", str(tmp_path / "run")).returncode == 0
    status = json.loads((tmp_path / "run/status.json").read_text())
    (tmp_path / "run/status.json").write_text(json.dumps({**status, "state": "running", "exit_code": None}))
    (tmp_path / "run/run.lock").write_text(f"{os.getppid()}@{socket.gethostname()}")
    before = bytes_below(tmp_path)
    done = call("run", "own", "train.max_steps=1", "--out", str(tmp_path / "run"), "--resume")
    assert done.returncode == 73 and f"in use by process {os.getppid()}" in done.stderr
    assert bytes_below(tmp_path) == before


def test_evaluate_measures_other_rows_and_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = bytes_below(run.resolve())
    write_rows(tmp_path / "other.csv", 30, seed=5)
    done = call("evaluate", str(run), "--data", str(tmp_path / "other.csv"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert bytes_below(run.resolve()) == before
    assert [row["row"] for row in read_lines(tmp_path / "out/predictions.jsonl")] == [
        f"test/{number}" for number in range(30)
    ]
    assert json.loads((tmp_path / "out/status.json").read_text())["state"] == "complete"
    assert (tmp_path / "out/report.html").is_file() and not (tmp_path / "out/run.lock").exists()


def test_new_rows_need_not_come_with_the_columns_of_slices(home: Path, tmp_path: Path) -> None:
    lines = (home / "recipes/rows.csv").read_text().splitlines()
    topics = [f"{line},{'odd' if number % 2 else 'even'}" for number, line in enumerate(lines[1:])]
    (tmp_path / "topics.csv").write_text("\n".join([f"{lines[0]},topic", *topics, ""]))
    ask = ("own", f"data.path={tmp_path / 'topics.csv'}", "evaluate.slices=[topic]", "train.max_steps=1")
    assert call("run", *ask, "--out", str(tmp_path / "sliced")).returncode == 0
    write_rows(tmp_path / "other.csv", 30, seed=5)
    for data, has_topics in (("other.csv", False), ("topics.csv", True)):
        out = tmp_path / f"on-{data}"
        done = call("evaluate", str(tmp_path / "sliced"), "--data", str(tmp_path / data), "--out", str(out))
        assert done.returncode == 0, done.stderr
        slices = {score["slice"] for score in json.loads((out / "report.json").read_text())["scores"]}
        assert ("topic: odd" in slices) == has_topics


def test_evaluate_without_data_measures_the_test_rows_of_the_run_and_no_others(run: Path, tmp_path: Path) -> None:
    done = call("evaluate", str(run), "--out", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again/predictions.jsonl").read_bytes() == (run / "predictions.jsonl").read_bytes()
    before, now = (json.loads((path / "report.json").read_text())["scores"] for path in (run, tmp_path / "again"))
    assert before == now


def test_evaluate_refuses_test_rows_that_have_changed_since_the_run(home: Path, run: Path, tmp_path: Path) -> None:
    rows = home / "recipes/rows.csv"
    whole = rows.read_bytes()
    try:
        write_rows(rows, 200, seed=9)
        done = call("evaluate", str(run), "--out", str(tmp_path / "changed"))
    finally:
        rows.write_bytes(whole)
    assert done.returncode == 65 and "have changed since the run" in done.stderr
    assert not (tmp_path / "changed").exists()


def test_report_is_rendered_again_from_report_json_alone(run: Path, tmp_path: Path) -> None:
    shutil.copytree(
        run.resolve(), tmp_path / "run", ignore=shutil.ignore_patterns("model", "*.html", "*.md", "*.svg", "*.jsonl")
    )
    done = call("report", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "finetune predict" not in done.stdout, "without a model there is nothing to try"
    for name in ("report.html", "report.md"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_status_speaks_and_exits_with_the_code_of_the_run(run: Path, tmp_path: Path) -> None:
    done = call("status", str(run))
    assert done.returncode == 0 and done.stdout.startswith("complete: report written")
    assert json.loads(call("status", str(run), "--json").stdout)["state"] == "complete"
    shutil.copy(run / "status.json", tmp_path)
    status = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(
        json.dumps({**status, "state": "failed", "exit_code": 3, "message": "not finite"})
    )
    done = call("status", str(tmp_path))
    assert done.returncode == 3 and done.stdout.startswith("failed: not finite") and done.stderr == ""
    (tmp_path / "status.json").write_text("{}")
    assert call("status", str(tmp_path)).returncode == 65
    assert call("status", str(tmp_path / "nowhere")).returncode == 66


def test_show_names_the_origin_of_every_value(home: Path) -> None:
    done = call("show", "own", "train.epochs=7")
    assert done.returncode == 0
    lines = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line.split()}
    assert lines["train.epochs"] == "line" and lines["train.schedule"] == "default" and lines["task"].endswith(":1")


def test_recipes_are_listed_and_the_shipped_table_is_that_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("recipes", "--markdown")
    assert done.returncode == 0
    assert done.stdout == (ROOT / "recipes/README.md").read_text(encoding="utf-8")
    listed = call("recipes").stdout
    assert all(row.name in listed for row in describe_recipes())


def test_the_schema_is_json_schema_that_the_shipped_recipes_obey() -> None:
    import jsonschema
    from ruamel.yaml import YAML

    done = call("schema")
    assert done.stdout == (ROOT / "recipes/recipe.schema.json").read_text(encoding="utf-8")
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        validator.validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
    for wrong in ({"task": "cola", "modle": {}}, {"task": 3}, {"task": "cola", "train": {"epochs": "three"}}):
        assert list(validator.iter_errors(wrong)), wrong


def test_doctor_says_what_the_machine_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("doctor")
    assert done.returncode == 0 and "precision" in done.stdout
    found = json.loads(call("doctor", "--json").stdout)
    assert found["hub"].startswith("offline") and "torch" in found["versions"] and found["packed attention"]
    monkeypatch.setenv("FINETUNE_DATA", str(home / "nowhere"))
    assert "no such folder" in json.loads(call("doctor", "--json").stdout)["FINETUNE_DATA"]


def test_init_writes_a_recipe_that_runs_and_overwrites_none(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "mine.csv", 60)
    done = call("init", "mine.csv", "--checkpoint", str(tiny_bert))
    assert done.returncode == 0, done.stderr
    assert "'text' is the text" in done.stdout and "recipes/mine.yaml" in done.stdout
    assert call("check", "mine", "--only", "data").returncode == 0
    before = bytes_below(tmp_path)
    again = call("init", "mine.csv")
    assert again.returncode == 73 and "already there" in again.stderr and bytes_below(tmp_path) == before
    assert call("init", "nowhere.csv").returncode == 66


def test_predict_judges_pairs_written_with_a_tab(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{text},{text[::-1]},{label}\n" for text, label in build_sentences(60))
    (tmp_path / "pairs.csv").write_text("text,other,label\n" + rows)
    write_recipe(tmp_path / "pairs.yaml", tiny_bert, "pairs.csv")
    assert (
        call("run", "pairs.yaml", "data.columns.text_pair=other", "train.max_steps=1", "--out", "run").returncode == 0
    )
    done = call("predict", "run", "--json", "a dog\tthe dog")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "a dog\tthe dog"
    assert (
        json.loads(call("predict", "run", "--json", "the dog\ta dog").stdout)["probabilities"]
        != json.loads(done.stdout)["probabilities"]
    )
    assert call("predict", "run", "no tab").returncode == 2


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_roberta"])
def test_every_family_runs_from_recipe_to_answer(
    family: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "r.yaml", request.getfixturevalue(family))
    done = call("run", "r.yaml", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert call("predict", "run", "a dog walks").stdout.endswith("\ta dog walks\n")


@pytest.mark.processes
def test_the_module_and_the_entry_point_are_the_same_program(home: Path, finetune: Callable) -> None:
    version = finetune("--version")
    assert version.returncode == 0 and version.stdout.startswith("finetune ")
    help_text = subprocess.run(
        [sys.executable, "-m", "finetune", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "Usage: finetune [OPTIONS] COMMAND" in help_text
