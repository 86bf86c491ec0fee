"""Every shipped recipe, from recipe to report, with a tiny model of its checkpoint's architecture.

An untrained model that is merely passed through fails: each must bring its own loss below the best constant answer.
"""

from pathlib import Path

import pytest

from finetune import load_recipe, load_run, run_recipe
from finetune.baselines import MAJORITY
from finetune.recipe_file import list_recipes
from finetune.records import Report
from finetune.run_dir import RunDir, read_predictions
from finetune.scores import pick
from tests.tiny import write_cola_like, write_rows

FAMILIES = {"bert": "tiny_bert", "minilm": "tiny_bert", "roberta": "tiny_roberta", "gpt2": "tiny_gpt2"}
BRIEF = [
    "train.max_steps=150",
    "train.learning_rate=3e-3",
    "train.batch_size=32",
    "train.threads=1",
    "train.warmup_ratio=0.1",
    "train.precision=fp32",
    "data.max_length=null",
    "evaluate.bootstrap=200",
]


def tiny_overrides(name: str, checkpoint: Path, work: Path) -> list[str]:
    """Return what turns a shipped recipe into one of seconds: a tiny checkpoint, toy rows, few steps."""
    overrides = [f"model.checkpoint={checkpoint}", "model.revision=null", "model.sha256=null", *BRIEF]
    if load_recipe(list_recipes()[name]).recipe.task == "grammar-sample":
        write_rows(work / "train.csv", 640)
        write_rows(work / "test.csv", 80, seed=1)
        overrides += ["data.path={train: train.csv, test: test.csv}", "data.columns={text: text, label: label}"]
    return overrides


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", list(list_recipes()))
def test_recipe_runs_and_beats_the_best_constant_answer(
    name: str, work: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(write_cola_like(work / "data")))
    stated = load_recipe(list_recipes()[name]).recipe.model.checkpoint
    family = next(
        fixture
        for part, fixture in FAMILIES.items()
        if part in stated.replace("roberta", "roberta").split("/")[-1] and not (part == "bert" and "roberta" in stated)
    )
    overrides = tiny_overrides(name, request.getfixturevalue(family), work)
    run = run_recipe(load_recipe(list_recipes()[name], overrides), work / "run")
    loss, trivial = pick(run.report.scores, "log_loss"), pick(run.report.baselines, "log_loss", predictor=MAJORITY)
    assert loss is not None
    assert trivial is not None
    assert loss.value is not None
    assert trivial.value is not None
    assert loss.value < 0.8 * trivial.value, (
        f"{name}: log loss {loss.value:.3f}, the best constant answer has {trivial.value:.3f}"
    )
    assert_whole(run.report, run.path)
    label = load_run(run.path).predict(["A dog walks in the garden."])[0].label
    assert label in run.report.data.labels


def assert_whole(report: Report, path: Path) -> None:
    """Check that a run left everything that its report speaks of."""
    run_dir = RunDir(path)
    for file in (
        run_dir.recipe,
        run_dir.data,
        run_dir.events,
        run_dir.report,
        run_dir.report_markdown,
        run_dir.report_html,
    ):
        assert file.stat().st_size > 100
    test = next(split for split in report.data.splits if split.part == "test")
    assert len(list(read_predictions(run_dir.predictions))) == test.rows
    assert sum(map(sum, report.confusion.counts if report.confusion else [])) == test.rows
    assert not run_dir.checkpoints.exists()
    assert not run_dir.lock.exists()


@pytest.mark.end_to_end
def test_an_untrained_model_does_not_pass_for_a_trained_one(
    work: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above can fail: without learning the loss stays where the best constant answer is."""
    monkeypatch.setenv("FINETUNE_DATA", str(write_cola_like(work / "data")))
    overrides = [*tiny_overrides("cola", tiny_bert, work), "train.max_steps=1", "train.learning_rate=1e-9"]
    run = run_recipe(load_recipe(list_recipes()["cola"], overrides), work / "run")
    loss, trivial = pick(run.report.scores, "log_loss"), pick(run.report.baselines, "log_loss", predictor=MAJORITY)
    assert loss is not None
    assert trivial is not None
    assert (loss.value or 0) > 0.8 * (trivial.value or 0)
    assert run.report.warnings


@pytest.mark.end_to_end
def test_the_same_seed_gives_the_same_run_and_another_seed_another(work: Path, tiny_bert: Path) -> None:
    write_rows(work / "rows.csv", 120)
    (work / "r.yaml").write_text(
        f"task: text-classification\nmodel: {{checkpoint: {tiny_bert}}}\n"
        "data: {path: rows.csv, columns: {text: text, label: label}}\ntrain: {max_steps: 6, threads: 1}\nevaluate: {bootstrap: 100}\n"
    )

    def losses(name: str, seed: int) -> tuple[str, str]:
        run = run_recipe(load_recipe("r.yaml", [f"seeds=[{seed}]"]), work / name)
        return str([point.loss for point in run.report.history]), RunDir(run.path).predictions.read_text()

    assert losses("a", 5) == losses("b", 5)
    assert losses("c", 6)[0] != losses("d", 5)[0]
