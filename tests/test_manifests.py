"""A complete run holds what it wrote: a record or model changed since is refused by name; what belongs to people they may change."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.errors import DataError
from finetune.manifests import RunManifest, refuse_changed_files, write_run_manifest
from finetune.run_dir import RunDir
from tests.cli_calls import bytes_below, call, write_recipe

READERS = {
    "report": ["report", "run"],
    "predict": ["predict", "run", "a text"],
    "evaluate": ["evaluate", "run", "--data", "rows.csv", "--out", "out"],
    "compare": ["compare", "run", "other", "--out", "out"],
    "push": ["push", "run", "me/model"],
    "run": ["run", "r.yaml", "model.checkpoint=./run", "--out", "out"],
}
OF_MODEL = ("predict", "evaluate", "push", "run")


@pytest.fixture(scope="module")
def made(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe, a run of two seeds, and one of one seed."""
    folder = tmp_path_factory.mktemp("made")
    write_recipe(folder / "r.yaml", tiny_bert)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("run", "r.yaml", "train.max_steps=1", "seeds=[1, 2]", "--out", "run").returncode == 0
        assert call("run", "r.yaml", "train.max_steps=1", "--out", "other").returncode == 0
    return folder


@pytest.fixture
def run(made: Path, work: Path) -> RunDir:
    """Return a copy of the run of two seeds, in the working directory."""
    shutil.copytree(made, work, symlinks=True, dirs_exist_ok=True)
    return RunDir(Path("run"))


def assert_refused(reader: str, saying: str) -> None:
    before = bytes_below(Path())
    done = call(*READERS[reader])
    assert (done.returncode, done.stdout) == (65, ""), (reader, done)
    assert saying in done.stderr and done.stderr.count("\n") == 1, (reader, done.stderr)
    assert bytes_below(Path()) == before, reader


def test_a_run_describes_every_record_of_it_and_its_model_but_not_the_card(run: RunDir) -> None:
    described = set(json.loads(run.manifest.read_text())["files"])
    kept = {name for name in bytes_below(run.path) if name.endswith((".json", ".jsonl", ".yaml", ".safetensors"))}
    # A seed's model is a part of the run that no report speaks of.
    expected = {name for name in kept if not name.startswith(("status", "manifest")) and "/model/" not in name}
    assert described == expected and "model/README.md" not in described
    assert {"report.json", "predictions.jsonl", "seed-2/predictions.jsonl", "model/model.safetensors"} <= described


@pytest.mark.parametrize("reader", READERS)
def test_an_edited_score_is_65_for_whoever_reads_it(run: RunDir, reader: str) -> None:
    report = json.loads(run.report.read_text())
    report["scores"][0]["value"] = 0.99
    run.report.write_text(json.dumps(report))
    assert_refused(reader, "run/report.json: changed since the run was complete: report.json has")


@pytest.mark.parametrize("reader", ["report", "compare"])
def test_an_edited_prediction_of_one_seed_is_65(run: RunDir, reader: str) -> None:
    predictions = run.seed(2).predictions
    text = predictions.read_text()
    digit = next(place for place, letter in enumerate(text) if letter in "123456789" and text[place - 1] == ".")
    predictions.write_text(text[:digit] + "0" + text[digit + 1 :])
    assert_refused(reader, "run/seed-2/predictions.jsonl: changed since the run was complete: predictions.jsonl is not")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("reader", OF_MODEL)
def test_a_model_of_one_other_bit_is_65_for_whoever_uses_it(run: RunDir, name: str, reader: str) -> None:
    path = run.model / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    # The model of a seed is the same file under another name.
    path.unlink()
    path.write_bytes(content)
    assert_refused(reader, f"run/model/{name}: changed since the run was complete: {name} is not what was written")
    assert call(*READERS["report"]).returncode == 0, "a report speaks for itself"


def test_a_link_in_the_place_of_a_record_is_65(run: RunDir) -> None:
    run.predictions.rename("elsewhere")
    run.predictions.symlink_to(Path("elsewhere").absolute())
    assert_refused("report", "predictions.jsonl is no plain file")


def test_what_belongs_to_people_may_change(run: RunDir) -> None:
    run.model_card.write_text("My own words.")
    run.report_html.write_text("")
    (run.path / "notes.txt").write_text("the best so far")
    shutil.rmtree(run.seed(1).model)
    run.rows.unlink()
    for reader in ("report", "predict", "evaluate"):
        done = call(*READERS[reader])
        assert done.returncode == 0, done.stderr
    assert run.report_html.read_text().startswith("<!DOCTYPE html>")


def test_without_its_manifest_a_run_is_read_as_it_is(run: RunDir) -> None:
    report = json.loads(run.report.read_text())
    run.report.write_text(json.dumps(report))
    assert_refused("report", "or remove manifest.json to have it read as it is")
    run.manifest.unlink()
    assert call(*READERS["report"]).returncode == 0


def spoil_with_a_place_outside(manifest: Path) -> None:
    manifest.write_text('{"files": {"../rows.csv": {"bytes": 1, "sha256": "' + "0" * 64 + '"}}}')


def spoil_with_a_pipe(manifest: Path) -> None:
    manifest.unlink()
    os.mkfifo(manifest)


@pytest.mark.parametrize("spoil", [spoil_with_a_place_outside, spoil_with_a_pipe, lambda path: path.write_text("{}")])
def test_a_damaged_manifest_is_65(run: RunDir, spoil: Callable[[Path], None]) -> None:
    spoil(run.manifest)
    done = call(*READERS["report"])
    assert done.returncode == 65 and "run/manifest.json: " in done.stderr, done


def test_a_run_copied_elsewhere_is_the_same_run(run: RunDir) -> None:
    shutil.copytree(run.path, "copied")
    assert call("report", "copied").returncode == 0


def test_a_file_that_no_manifest_speaks_of_is_taken_as_it_is(tmp_path: Path) -> None:
    known, unknown = tmp_path / "a.json", tmp_path / "b.json"
    known.write_text("1")
    write_run_manifest(tmp_path / "manifest.json", [known])
    assert RunManifest.model_validate_json((tmp_path / "manifest.json").read_text()).files["a.json"].bytes == 1
    unknown.write_text("2")
    refuse_changed_files(tmp_path / "manifest.json", [known, unknown])
    known.write_text("2")
    with pytest.raises(DataError, match=r"a\.json is not what was written \(SHA-256 differs\)"):
        refuse_changed_files(tmp_path / "manifest.json", [known, unknown])


@pytest.mark.parametrize("place", ["seed-1", "checkpoints", "events.jsonl"])
def test_a_run_is_not_continued_through_a_link_that_leads_out_of_its_folder(run: RunDir, place: str) -> None:
    status = json.loads(run.status.read_text())
    run.status.write_text(json.dumps({**status, "state": "stopped", "exit_code": 75}))
    outside = Path("outside").absolute()
    outside.mkdir()
    shutil.rmtree(run.path / place, ignore_errors=True)
    (run.path / place).unlink(missing_ok=True)
    (run.path / place).symlink_to(outside)
    before = bytes_below(Path())
    done = call("run", "r.yaml", "train.max_steps=1", "seeds=[1, 2]", "--out", "run", "--resume")
    assert done.returncode == 73 and f"run/{place}: a link" in done.stderr and done.stderr.count("\n") == 1, done
    assert bytes_below(Path()) == before
