"""Chains: a run that starts from another goes on with its model and tokenizer, and names all that came before."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from finetune import load_recipe, load_run, run_recipe
from finetune.errors import FinetuneError, MissingInputError
from finetune.fitted_run import FittedRun
from finetune.lineage import find_lineage
from finetune.run_dir import RunDir, read_report, write_status
from tests.cli_calls import write_recipe

BRIEF = ["train.max_steps=2", "train.threads=1"]


@pytest.fixture(scope="module")
def made(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe `first` that starts from a tiny checkpoint, and its run."""
    folder = tmp_path_factory.mktemp("made")
    recipe = write_recipe(folder / "first.yaml", tiny_bert)
    run_recipe(load_recipe(recipe, BRIEF), folder / "runs/first/made")
    (folder / "runs/first/latest").symlink_to("made")
    return folder


@pytest.fixture
def first(made: Path, work: Path) -> FittedRun:
    """Return a copy of that run, in the working directory."""
    shutil.copytree(made, work, symlinks=True, dirs_exist_ok=True)
    return FittedRun(Path("runs/first/made"))


def run(name: str, *overrides: str) -> FittedRun:
    return run_recipe(load_recipe(f"{name}.yaml", [*BRIEF, *overrides]))


def child(name: str, parent: str) -> None:
    Path(f"{name}.yaml").write_text(f"extends: first.yaml\nmodel: {{checkpoint: runs/{parent}/latest}}\n")


def sha256_of(made: FittedRun) -> str:
    from finetune.checkpoint import open_checkpoint

    return open_checkpoint(RunDir(made.path).model, "it").sha256


def test_a_chain_of_three_lists_its_runs_in_order(first: FittedRun, tiny_bert: Path) -> None:
    child("second", "first")
    child("third", "second")
    second, third = run("second"), run("third")
    assert first.report.provenance.lineage == []
    assert [parent.run for parent in third.report.provenance.lineage] == [
        "first/made",
        f"second/{second.path.name}",
    ]
    eldest, parent = third.report.provenance.lineage
    assert (eldest.checkpoint, eldest.checkpoint_sha256) == (str(tiny_bert), first.report.provenance.checkpoint_sha256)
    assert (parent.checkpoint, parent.checkpoint_sha256) == ("runs/first/latest", sha256_of(first))
    assert third.report.provenance.checkpoint == "runs/second/latest"
    assert third.report.provenance.checkpoint_sha256 == sha256_of(second)
    assert (parent.task, parent.metric, parent.n) == ("text-classification", "macro_f1", 6)
    assert parent.score == second.report.seeds[0].score
    assert find_lineage(RunDir(third.path).model)[:2] == third.report.provenance.lineage
    # What it went on with are the weights and labels that its parent ended with.
    assert third.report.provenance.notes[0] == "the head of the checkpoint is kept"
    assert third.report.data.labels == second.report.data.labels


def test_weights_and_tokenizer_are_the_parent_s(first: FittedRun) -> None:
    child("second", "first")
    second = run("second", "train.learning_rate=1e-12")
    before, after = first.loaded.model.state_dict(), second.loaded.model.state_dict()
    assert all(torch.allclose(values, after[name], atol=1e-9) for name, values in before.items())
    assert first.loaded.tokenizer.get_vocab() == second.loaded.tokenizer.get_vocab()


def test_other_labels_get_a_new_head(first: FittedRun) -> None:
    child("second", "first")
    Path("other.csv").write_text(
        "text,label\n" + "".join(f"the dog sees {n},{'yes' if n % 2 else 'no'}\n" for n in range(60))
    )
    second = run("second", "data.path=other.csv")
    assert second.report.provenance.notes[0].startswith("the checkpoint's head was fitted to other labels")
    assert second.report.data.labels == ["no", "yes"]
    assert [parent.task for parent in second.report.provenance.lineage] == ["text-classification"]


def test_a_model_in_several_seeds_is_the_one_that_the_run_kept(first: FittedRun) -> None:
    child("second", "first")
    several = run("first", "seeds=[3, 4]")
    second = run("second")
    (parent,) = second.report.provenance.lineage
    assert second.report.provenance.checkpoint_sha256 == sha256_of(several)
    assert parent.run == f"first/{several.path.name}" and parent.score is not None


def test_from_scratch_nothing_is_inherited_but_the_outline(first: FittedRun) -> None:
    child("second", "first")
    second = run("second", "model.init=scratch")
    made = second.report.provenance
    assert (made.checkpoint, made.checkpoint_sha256) == ("runs/first/latest, from scratch", "")
    assert made.lineage == [] and "all weights are drawn from the seed" in made.notes
    assert second.loaded.tokenizer.get_vocab() == first.loaded.tokenizer.get_vocab()
    assert made.parameters == first.report.provenance.parameters


def test_a_report_of_an_earlier_version_is_an_ancestor_too(first: FittedRun) -> None:
    child("second", "first")
    report = RunDir(first.path).report
    values = json.loads(report.read_text())
    del values["provenance"]["lineage"]
    report.write_text(json.dumps({**values, "schema_version": 1}))
    # Such runs had none.
    RunDir(first.path).manifest.unlink()
    assert read_report(RunDir(first.path)).provenance.lineage == []
    assert [parent.run for parent in run("second").report.provenance.lineage] == ["first/made"]


def test_a_model_that_no_run_made_has_no_ancestors(tiny_bert: Path, tmp_path: Path) -> None:
    assert find_lineage(tiny_bert) == []
    assert find_lineage(tmp_path / "model") == []


def test_a_run_that_is_missing_is_named_with_the_command_that_makes_it(first: FittedRun) -> None:
    child("second", "first")
    shutil.rmtree("runs")
    with pytest.raises(MissingInputError, match="no folder runs/first/latest; make it first: finetune run first"):
        run("second")
    assert not Path("runs/second").exists()


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_a_run_that_is_not_complete_is_no_beginning(first: FittedRun, state: str) -> None:
    child("second", "first")
    write_status(RunDir(first.path), state, "out of memory", 71)
    with pytest.raises(MissingInputError, match=f"the run runs/first/latest is {state}, not complete: out of memory"):
        run("second")


def test_a_damaged_report_of_a_parent_is_told_before_anything_is_trained(first: FittedRun) -> None:
    child("second", "first")
    RunDir(first.path).report.write_text("{")
    with pytest.raises(FinetuneError, match="report.json: changed since the run was complete"):
        run("second")
    RunDir(first.path).manifest.unlink()
    with pytest.raises(FinetuneError, match="report.json: not a report of this program"):
        run("second")
    assert not Path("runs/second").exists()


def test_the_resolved_recipe_names_the_run_and_can_be_run_again(first: FittedRun) -> None:
    child("second", "first")
    second = run("second")
    assert load_run(second.path).report.recipe["model"]["checkpoint"] == "runs/first/latest"
    again = run_recipe(load_recipe(RunDir(second.path).recipe), "again")
    assert again.report.provenance.lineage == second.report.provenance.lineage
    assert again.report.scores == second.report.scores
