"""Every shipped recipe, from recipe to report, with a tiny model of its checkpoint's architecture.

An untrained model that is merely passed through fails: each must bring its own loss below the best constant answer.
"""

from pathlib import Path

import pytest

from finetune import load_recipe, load_run, run_recipe
from finetune.baselines import MAJORITY
from finetune.fitted_run import FittedRun
from finetune.predictions import read_answers
from finetune.recipe_file import list_recipes
from finetune.records import Report
from finetune.run_dir import RunDir
from finetune.scores import pick
from finetune.task import Task, get_task
from tests.tiny import write_rows
from tests.tiny_data import write_stand_in

GPT2_SHAPE = "{n_embd: 32, n_layer: 2, n_head: 2, n_positions: 64}"
ROBERTA_SHAPE = (
    "{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 66, "
    "type_vocab_size: 1}"
)
BRIEF = [
    "train.max_steps=150",
    "train.batch_size=32",
    "train.micro_batch_size=null",
    "train.threads=1",
    "train.warmup_ratio=0.1",
    "train.precision=fp32",
]
SMALL = ["data.max_length=null", "data.max_train_rows=null", "data.max_test_rows=null", "evaluate.bootstrap=200"]
# How much better than the best constant answer, or than word frequencies, a tiny model has to get in 150 steps.
SHARE_OF_LOSS = 0.85
# A recipe that is added raises this number, so that none is left out unseen.
RECIPES = 50


def tiny_overrides(name: str, work: Path, request: pytest.FixtureRequest) -> list[str]:
    """Return what turns a shipped recipe into one of seconds: a tiny model of its architecture, toy rows, few steps."""
    recipe = load_recipe(list_recipes()[name]).recipe
    overrides = [*SMALL]
    if recipe.train is not None:
        # At the higher rate, a classifier that starts from a masked model takes hundreds of steps to leave its plateau.
        rate = "1e-3" if get_task(recipe.task).objective == "masked_lm" else "3e-3"
        overrides += [*BRIEF, f"train.learning_rate={rate}"]
    model = recipe.model
    if model.architecture is not None:
        shape = GPT2_SHAPE if model.architecture == "gpt2" else ROBERTA_SHAPE
        vocabulary = ["model.shape.vocab_size=400"] if "vocab_size" in model.shape else []
        overrides += [f"model.shape={shape}", "model.tokenizer.vocabulary=300", *vocabulary]
    elif not str(model.checkpoint).startswith("runs/"):
        tiny = request.getfixturevalue(f"tiny_{find_family(str(model.checkpoint))}")
        overrides += [f"model.checkpoint={tiny}", "model.revision=null", "model.sha256=null"]
    if recipe.task == "grammar-sample":
        write_rows(work / "train.csv", 640)
        write_rows(work / "test.csv", 80, seed=1)
        overrides += ["data.path={train: train.csv, test: test.csv}", "data.columns={text: text, label: label}"]
    if recipe.evaluate.prompt is not None:
        overrides += ["seeds=1", f"evaluate.prompt.shots={min(1, recipe.evaluate.prompt.shots)}"]
        # The task's own words are many tokens in a toy vocabulary, and a worked example has to fit half of 64.
        if recipe.evaluate.prompt.shots:
            overrides += [
                "evaluate.prompt.template='{text}{answer}'",
                "evaluate.prompt.answers={negative: n, positive: p}",
            ]
    return overrides


def find_family(checkpoint: str) -> str:
    """Return the fixture of a checkpoint's architecture."""
    families = {"distilbert": "distilbert", "roberta": "roberta", "bert": "bert", "minilm": "bert", "gpt2": "gpt2"}
    return next(family for part, family in families.items() if part in checkpoint.rpartition("/")[2])


def run_tiny(name: str, work: Path, request: pytest.FixtureRequest, out: Path) -> FittedRun:
    """Run a shipped recipe in its tiny form; first those that it begins from."""
    recipe = load_recipe(list_recipes()[name]).recipe
    if str(recipe.model.checkpoint).startswith("runs/"):
        parent = str(recipe.model.checkpoint).split("/")[1]
        latest = work / "runs" / parent / "latest"
        if not latest.exists():
            link_parent(parent, latest, request)
    # After the parents, whose task may have other columns of the same files.
    if get_task(recipe.task).source is not None and recipe.task != "grammar-sample":
        write_stand_in(work / "data", get_task(recipe.task))
    return run_recipe(load_recipe(list_recipes()[name], tiny_overrides(name, work, request)), out)


def link_parent(name: str, latest: Path, request: pytest.FixtureRequest) -> None:
    """Put the tiny form of another recipe's run where a recipe looks for it; each is made once."""
    made: dict[str, Path] = request.getfixturevalue("parents")
    if name not in made:
        folder = request.getfixturevalue("tmp_path_factory").mktemp(f"parent-{name}")
        made[name] = run_tiny(name, latest.parents[2], request, folder / "run").path
    latest.parent.mkdir(parents=True, exist_ok=True)
    latest.symlink_to(made[name], target_is_directory=True)


@pytest.fixture(scope="session")
def parents() -> dict[str, Path]:
    """Return the runs that others begin from, by recipe, made so far."""
    return {}


def test_every_shipped_recipe_is_run_here() -> None:
    assert len(list_recipes()) == RECIPES


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", list(list_recipes()))
def test_recipe_runs_and_learns(
    name: str, work: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(work / "data"))
    run = run_tiny(name, work, request, work / "run")
    report = run.report
    task = get_task(report.task)
    assert_whole(report, run.path)
    if report.recipe["train"] is None:
        assert_is_asked_rightly(report, task)
        return
    if task.objective == "regression":
        assert value_of(report, "pearson") > 0.5
    elif task.objective == "multilabel":
        shares = pick(report.baselines, "pr_auc")
        assert shares is not None
        assert shares.value is not None
        assert value_of(report, "pr_auc") > 1.3 * shares.value
    else:
        loss = "log_loss" if task.objective in ("classification", "next_sentence") else "token_loss"
        rival = MAJORITY if loss == "log_loss" else "before training" if task.objective != "causal_lm" else "unigram"
        trivial = pick(report.baselines, loss, predictor=rival)
        assert trivial is not None
        assert trivial.value is not None
        assert value_of(report, loss) < SHARE_OF_LOSS * trivial.value, (name, value_of(report, loss), trivial.value)
    if task.objective == "classification" and task.source is not None and task.source.layout.text_pair is None:
        label = load_run(run.path).predict(["A dog walks in the garden."])[0].label
        assert label in report.data.labels


def value_of(report: Report, metric: str) -> float:
    """Return a score of a run on all rows."""
    found = pick(report.scores, metric)
    assert found is not None
    assert found.value is not None
    return found.value


def assert_is_asked_rightly(report: Report, task: Task) -> None:
    """Check the scores of a model that was only asked: a language model of the toy text tells it from its reverse."""
    if task.objective == "minimal_pairs" and "runs/" in str(report.recipe["model"]["checkpoint"]):
        assert value_of(report, "accuracy") > 0.55
    else:
        assert 0 <= value_of(report, "accuracy") <= 1
    assert report.seeds[0].train_seconds == 0


def assert_whole(report: Report, path: Path) -> None:
    """Check that a run left everything that its report speaks of."""
    run_dir = RunDir(path)
    events = [] if report.recipe["train"] is None else [run_dir.events]
    for file in (run_dir.recipe, run_dir.data, run_dir.report, run_dir.report_markdown, run_dir.report_html, *events):
        assert file.stat().st_size > 100
    test = next(split for split in report.data.splits if split.part == "test")
    assert len(read_answers(run_dir.predictions, report.data.labels).answers) == test.rows
    if report.confusion is not None:
        assert sum(map(sum, report.confusion.counts)) == test.rows
    assert not run_dir.checkpoints.exists()
    assert not run_dir.lock.exists()


@pytest.mark.end_to_end
def test_an_untrained_model_does_not_pass_for_a_trained_one(
    work: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The check above can fail: without learning the loss stays where the best constant answer is."""
    monkeypatch.setenv("FINETUNE_DATA", str(write_stand_in(work / "data", get_task("cola"))))
    kept = [
        override
        for override in tiny_overrides("cola", work, request)
        if not override.startswith(("train.max_steps=", "train.learning_rate="))
    ]
    overrides = [*kept, "train.max_steps=1", "train.learning_rate=1e-9"]
    run = run_recipe(load_recipe(list_recipes()["cola"], overrides), work / "run")
    loss, trivial = pick(run.report.scores, "log_loss"), pick(run.report.baselines, "log_loss", predictor=MAJORITY)
    assert loss is not None
    assert trivial is not None
    assert (loss.value or 0) > SHARE_OF_LOSS * (trivial.value or 0)
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
