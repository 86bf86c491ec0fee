"""One seed of a run, whatever the objective: asked before training where that says something, and read back when resumed."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune import load_recipe, run_recipe
from finetune.data import load_data
from finetune.fit import fit_seed
from finetune.fitted_run import FittedRun
from finetune.objectives.prompting import Prompting
from finetune.prepare import SeedJob, prepare_job, take_seed
from finetune.processes import Processes
from finetune.recipe_file import LoadedRecipe
from finetune.run_dir import RunDir
from finetune.task import get_task
from tests.tiny import build_sentences, write_rows

SMALL = (
    "hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 66"
)
MASKED = f"""task: masked-lm
model: {{init: scratch, architecture: roberta, shape: {{{SMALL}}}, tokenizer: {{vocabulary: 300}}}}
data: {{path: texts.txt}}
train: {{max_steps: 3, batch_size: 16, learning_rate: 1.0e-3, precision: fp32, threads: 1}}
evaluate: {{bootstrap: 100}}
seeds: [4, 2]
"""
CLASSES = """task: text-classification
model: {checkpoint: runs/masked/latest}
data: {path: rows.csv, columns: {text: text, label: label}}
train: {max_steps: 3, batch_size: 16, learning_rate: 1.0e-3, precision: fp32, threads: 1}
evaluate: {bootstrap: 100}
"""
PROMPTED = """task: text-classification
data: {path: rows.csv, columns: {text: text, label: label}}
train: null
evaluate: {bootstrap: 100, prompt: {template: "{text} {answer}", answers: {acceptable: a, unacceptable: b}, shots: 2}}
seeds: 2
"""


@pytest.fixture
def masked(work: Path) -> LoadedRecipe:
    """Return a recipe that learns masked language modelling from scratch, with two seeds."""
    (work / "texts.txt").write_text("\n".join(text for text, _ in build_sentences(120)) + "\n")
    (work / "masked.yaml").write_text(MASKED)
    return load_recipe("masked.yaml")


def job_of(loaded: LoadedRecipe) -> SeedJob:
    task = get_task(loaded.recipe.task)
    return prepare_job(loaded, task, load_data(loaded.recipe, task), Processes(0, 1))


def test_the_first_seed_alone_is_asked_before_training_and_read_back_when_resumed(
    masked: LoadedRecipe, work: Path
) -> None:
    job = job_of(masked)
    folder, other = RunDir(work / "seed-4"), RunDir(work / "seed-2")
    result = fit_seed(job, 4, folder, resume=False)
    assert result.start_answers is not None and folder.start_predictions.is_file()
    assert result.start_answers.tokens.tolist() == result.answers.tokens.tolist(), "the same masks, before and after"
    assert result.answers.losses.sum() < result.start_answers.losses.sum()
    again = fit_seed(job, 4, folder, resume=True)
    assert again.measurement == result.measurement and again.scores == result.scores
    assert again.start_answers.losses.tolist() == result.start_answers.losses.tolist()
    assert fit_seed(job, 2, other, resume=False).start_answers is None and not other.start_predictions.exists()


def test_being_asked_before_training_changes_nothing_of_the_training(masked: LoadedRecipe, work: Path) -> None:
    job = job_of(masked)
    later = replace(job, recipe=job.recipe.model_copy(update={"seeds": [2, 4]}))
    asked, unasked = (
        fit_seed(which, 4, RunDir(work / name), resume=False) for which, name in ((job, "a"), (later, "b"))
    )
    assert unasked.start_answers is None
    assert asked.answers.losses.tolist() == unasked.answers.losses.tolist()


def test_a_classifier_goes_on_from_a_masked_language_model_with_a_new_head(masked: LoadedRecipe, work: Path) -> None:
    write_rows(work / "rows.csv", 60)
    (work / "classes.yaml").write_text(CLASSES)
    parent = run_recipe(masked)
    child = run_recipe(load_recipe("classes.yaml"))
    (ancestor,) = child.report.provenance.lineage
    assert (ancestor.run, ancestor.task) == (f"masked/{parent.path.name}", "masked-lm")
    assert (ancestor.metric, ancestor.n) == ("token_loss", 12) and ancestor.score is not None
    assert (ancestor.checkpoint, ancestor.checkpoint_sha256) == ("roberta, from scratch", "")
    assert child.report.provenance.notes[0].startswith("new weights, drawn from the seed: classifier.")
    assert child.loaded.tokenizer.get_vocab() == FittedRun(parent.path).loaded.tokenizer.get_vocab()
    assert child.report.data.labels == ["acceptable", "unacceptable"]


def test_rows_are_encoded_anew_for_each_seed_where_the_seed_draws_what_is_shown(tiny_gpt2: Path, work: Path) -> None:
    write_rows(work / "rows.csv", 60)
    (work / "prompted.yaml").write_text(f"model: {{checkpoint: {tiny_gpt2}}}\n{PROMPTED}")
    job = job_of(load_recipe("prompted.yaml", ["data.max_length=64"]))
    assert "train" not in job.features, "worked examples are no rows to be asked about"
    first, again, second = take_seed(job, 1), take_seed(job, 1), take_seed(job, 2)
    assert isinstance(second.objective, Prompting) and second.objective.seed == 2
    tokens = [taken.features["test"][0].input_ids.tolist() for taken in (first, again, second)]
    assert tokens[0] == tokens[1] != tokens[2]
    plain = job_of(load_recipe("prompted.yaml", ["evaluate.prompt.shots=0"]))
    assert take_seed(plain, 2) is plain
