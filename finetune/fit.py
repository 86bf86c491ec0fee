"""One seed of a run: its model, training and test predictions, kept on disk so that a resumed run need not repeat it.

Owns the order of those steps for a seed. The run around the seeds is `run`.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.batching import BatchPlan, plan_batch
from finetune.checkpoint import Checkpoint, find_checkpoint
from finetune.errors import SettingError
from finetune.features import choose_max_length, encode_features
from finetune.loss import balanced_class_weights
from finetune.machine import Precision, choose_precision, choose_threads
from finetune.model import load_classifier, load_config, load_tokenizer, place_on_device, save_model
from finetune.predict import build_predictions, predict_logits, probabilities_of
from finetune.processes import Processes
from finetune.records import DataRecord, HistoryPoint, Measurement
from finetune.report import SeedResult
from finetune.run_dir import RunDir, read_measurement, read_predictions, write_lines, write_record
from finetune.scores import find_slices, score_slices
from finetune.trainer import TrainOutcome, train_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.data import TaskData
    from finetune.features import Features
    from finetune.recipe import Recipe, TrainSettings
    from finetune.recipe_file import LoadedRecipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class SeedJob:
    """What every seed of a run shares.

    Attributes:
        record: that of the data, with what tokenisation found.
        plan: how a batch is cut; None where nothing is trained.
    """

    name: str
    recipe: "Recipe"
    task: "Task"
    data: "TaskData"
    record: DataRecord
    checkpoint: Checkpoint
    features: "Mapping[Part, Features]"
    slices: "dict[str, NDArray[np.int64]]"
    processes: Processes
    plan: BatchPlan | None
    precision: Precision
    class_weights: tuple[float, ...] | None


def prepare_job(loaded: "LoadedRecipe", task: "Task", data: "TaskData", processes: Processes) -> SeedJob:
    """Find the checkpoint, encode every split once, and settle what can be wrong before anything is written.

    Raises:
        FinetuneError: the checkpoint isn't here, or doesn't fit the recipe; a setting doesn't fit the data or the machine.
    """
    train = loaded.recipe.train
    plan = plan_batch(train.batch_size, train.micro_batch_size, processes.count) if train else None
    precision = choose_precision(train.precision) if train else "fp32"
    weights = class_weights_of(loaded.recipe, data)
    checkpoint = find_checkpoint(loaded.recipe.model)
    tokenizer = load_tokenizer(checkpoint)
    limit = choose_max_length(loaded.recipe.data.max_length, load_config(checkpoint), tokenizer)
    features = {part: encode_features(split.examples, tokenizer, limit) for part, split in data.splits.items()}
    record = add_token_counts(data.record, features)
    slices = find_slices(task, data.splits["test"], data.slice_columns, list_shared_test_rows(record))
    if train is not None:
        _refuse_unscored_best(train, len(features["train"]))
    return SeedJob(
        loaded.name,
        loaded.recipe,
        task,
        data,
        record,
        checkpoint,
        features,
        slices,
        processes,
        plan,
        precision,
        weights,
    )


def _refuse_unscored_best(train: "TrainSettings", rows: int) -> None:
    steps = train.max_steps or -(-rows // train.batch_size) * train.epochs
    if train.selects_on_dev and train.evaluate_every != "epoch" and train.evaluate_every > steps:
        raise SettingError(
            "train.evaluate_every",
            f"found {train.evaluate_every}, but the run has {steps} steps: dev would never be scored, and no weights be the best",
        )


def list_shared_test_rows(record: DataRecord) -> list[str]:
    """Return the test rows that stand in train too."""
    return [row for entry in record.shared_with_train if entry.part == "test" for row in entry.rows]


def add_token_counts(record: DataRecord, features: "Mapping[Part, Features]") -> DataRecord:
    """Return the record with what tokenisation found of the splits that were encoded."""
    splits = []
    for split in record.splits:
        if split.part not in features:
            splits.append(split)
            continue
        lengths = features[split.part].lengths
        found = {
            "truncated": features[split.part].truncated,
            "mean_tokens": round(float(lengths.mean()), 2),
            "longest_tokens": int(lengths.max()),
        }
        splits.append(split.model_copy(update=found))
    return record.model_copy(update={"splits": splits})


def fit_seed(job: SeedJob, seed: int, run_dir: RunDir, *, resume: bool) -> SeedResult:
    """Train, predict and score one seed, or read what an interrupted run has finished of it.

    Raises:
        InvalidResultError: a loss, gradient or output is not finite.
    """
    finished = job.processes.agree(read_measurement(run_dir) if resume and run_dir.predictions.exists() else None)
    if finished is None:
        probabilities, measurement = _train_and_predict(job, seed, run_dir, resume=resume)
    else:
        probabilities, measurement = (
            np.array([row.probabilities for row in read_predictions(run_dir.predictions)]),
            finished,
        )
    scores = (
        score_slices(
            job.task.metrics, job.features["test"].labels, probabilities, job.slices, job.recipe.evaluate.bootstrap
        )
        if job.processes.is_first
        else []
    )
    return SeedResult(seed, probabilities, measurement, scores, _read_history(run_dir, seed, job.task.primary_metric))


def _train_and_predict(
    job: SeedJob, seed: int, run_dir: RunDir, *, resume: bool
) -> "tuple[NDArray[np.float64], Measurement]":
    import torch
    from transformers import set_seed

    recipe, processes = job.recipe, job.processes
    if processes.is_first:
        run_dir.path.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(choose_threads(recipe.train.threads if recipe.train else None, processes.count))
    set_seed(seed)
    loaded = load_classifier(job.checkpoint, job.data.label_names, may_draw_head=recipe.train is not None)
    outcome = TrainOutcome(0.0, 0, 0, 0, None, None)
    resume_from = find_checkpoint_to_resume(run_dir) if resume else None
    if job.plan is not None:
        outcome = train_model(
            loaded,
            job.features["train"],
            job.features.get("dev"),
            recipe,
            run_dir,
            plan=job.plan,
            seed=seed,
            precision=job.precision,
            metric=job.task.primary_metric,
            class_weights=job.class_weights,
            title=f"{job.name}, seed {seed}",
            resume_from=resume_from,
        )
    else:
        place_on_device(loaded.model)
    logits = predict_logits(
        loaded.model,
        job.features["test"],
        recipe.evaluate.batch_size,
        process=processes.rank,
        processes=processes.count,
    )
    probabilities = probabilities_of(logits)
    measurement = Measurement(
        seed=seed,
        train_seconds=outcome.seconds,
        examples_seen=outcome.examples,
        tokens_seen=outcome.tokens,
        padded_tokens_seen=outcome.padded_tokens,
        final_loss=outcome.final_loss,
        dev_score=outcome.dev_score,
        precision=job.precision,
        parameters=loaded.model.num_parameters(),
        notes=[*loaded.notes, *_note_resume(resume_from)],
    )
    if processes.is_first:
        test = job.data.splits["test"]
        save_model(loaded, run_dir.model)
        write_lines(
            run_dir.predictions,
            build_predictions(
                list(test.examples["row"]), "test", list(test.examples["label"]), probabilities, job.data.label_names
            ),
        )
        # Written last: a seed with a measurement is a finished seed.
        write_record(run_dir.measurement, measurement)
        shutil.rmtree(run_dir.checkpoints, ignore_errors=True)
    processes.wait()
    return probabilities, measurement


def class_weights_of(recipe: "Recipe", data: "TaskData") -> tuple[float, ...] | None:
    """Return the weight of each class in the loss, or None for equal ones.

    Raises:
        RecipeError: not one weight a label.
    """
    stated = recipe.train.class_weights if recipe.train else None
    if stated is None:
        return None
    if stated == "balanced":
        counts = np.bincount(data.splits["train"].examples["label"], minlength=len(data.label_names))
        return balanced_class_weights([int(count) for count in counts])
    if len(stated) != len(data.label_names):
        raise SettingError(
            "train.class_weights",
            f"{len(stated)} weights, but {len(data.label_names)} labels: {', '.join(data.label_names)}",
        )
    return tuple(float(weight) for weight in stated)


def find_checkpoint_to_resume(run_dir: RunDir) -> Path | None:
    """Return the newest checkpoint of a seed that was written to its end, or None.

    The Trainer writes trainer_state.json last.
    """
    whole = [path for path in run_dir.checkpoints.glob("checkpoint-*") if _is_whole(path / "trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _note_resume(resume_from: Path | None) -> list[str]:
    if resume_from is None:
        return []
    return [f"resumed from {resume_from.name}: seconds and speed of training are those of the last session"]


def _is_whole(state: Path) -> bool:
    try:
        return "global_step" in json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _read_history(run_dir: RunDir, seed: int, primary_metric: str) -> list[HistoryPoint]:
    if not run_dir.events.exists():
        return []
    points = []
    for line in run_dir.events.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        points.append(
            HistoryPoint(
                seed=seed,
                step=event["step"],
                epoch=event["epoch"],
                loss=event.get("loss"),
                learning_rate=event.get("learning_rate"),
                gradient_norm=event.get("gradient_norm"),
                dev_score=event.get("dev", {}).get(primary_metric),
            )
        )
    return points
