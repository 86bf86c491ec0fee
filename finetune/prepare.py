"""What every seed of a run shares, settled before anything is written: where it starts, features, slices, how a batch is cut.

Owns finding out what can be wrong with a recipe, its data and its checkpoint together. What is done for one seed is `fit`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from finetune.annotations import find_annotated_rows
from finetune.batching import BatchPlan, plan_batch
from finetune.data import texts_of
from finetune.data_checks import label_texts
from finetune.decisions import refuse_threshold_of_many_labels
from finetune.errors import SettingError
from finetune.machine import Precision, choose_precision
from finetune.model import count_parameters
from finetune.objective import DrawnObjective, Objective, build_objective
from finetune.processes import Processes
from finetune.records import DataRecord
from finetune.slices import find_slices
from finetune.start import Start, find_start
from finetune.text_features import lengths_of_examples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finetune.data import TaskData
    from finetune.features import FeatureRows
    from finetune.recipe import Recipe
    from finetune.recipe_file import LoadedRecipe
    from finetune.recipe_sections import TrainSettings
    from finetune.task import Part, Task


@dataclass(frozen=True)
class SeedJob:
    """What every seed of a run shares.

    Attributes:
        record: that of the data, with what tokenisation found.
        plan: how a batch is cut; None where nothing is trained.
        parameters: those of the model.
    """

    name: str
    recipe: "Recipe"
    task: "Task"
    data: "TaskData"
    record: DataRecord
    start: Start
    features: "Mapping[Part, FeatureRows]"
    slices: "dict[str, NDArray[np.int64]]"
    processes: Processes
    plan: BatchPlan | None
    precision: Precision
    objective: Objective
    parameters: int


def prepare_job(loaded: "LoadedRecipe", task: "Task", data: "TaskData", processes: Processes) -> SeedJob:
    """Find the start, encode every split once, and settle what can be wrong before anything is written.

    Raises:
        FinetuneError: the checkpoint isn't here, or doesn't fit the recipe; a setting doesn't fit the data or the machine.
    """
    train = loaded.recipe.train
    plan = plan_batch(train.batch_size, train.micro_batch_size, processes.count, train.batch_tokens) if train else None
    precision = choose_precision(train.precision) if train else "fp32"
    refuse_threshold_of_many_labels(loaded.recipe.evaluate, len(data.label_names))
    start = find_start(loaded.recipe, task, data)
    objective = build_objective(loaded.recipe, task, data, start.tokenizer, start.config)
    # Counted so early since it refuses a head or a shape that there isn't.
    parameters = count_parameters(start, objective, data.label_names)
    features = _encode_splits(objective, loaded.recipe, data)
    record = add_token_counts(data.record, features)
    slices, notes = find_test_slices(task, data, lengths_of_examples(features["test"]), record)
    record = record.model_copy(update={"notes": [*record.notes, *notes]})
    if train is not None and plan is not None:
        _refuse_small_budget(train, features["train"].lengths)
        _refuse_unscored_best(train, plan.count_batches(features["train"].lengths))
    return SeedJob(
        loaded.name,
        loaded.recipe,
        task,
        data,
        record,
        start,
        features,
        slices,
        processes,
        plan,
        precision,
        objective,
        parameters,
    )


def take_seed(job: SeedJob, seed: int) -> SeedJob:
    """Return the job of one seed: where the seed draws what is shown with a row, the rows are encoded anew."""
    if not isinstance(job.objective, DrawnObjective) or not job.objective.encodes_by_seed:
        return job
    objective = job.objective.for_seed(seed)
    return replace(job, objective=objective, features=_encode_splits(objective, job.recipe, job.data))


def _encode_splits(objective: Objective, recipe: "Recipe", data: "TaskData") -> "dict[Part, FeatureRows]":
    """Return the features of every split that goes through the model."""
    return {
        part: objective.encode(split.examples, part)
        for part, split in data.splits.items()
        if part != "train" or recipe.train is not None
    }


def _refuse_small_budget(train: "TrainSettings", lengths: "NDArray[np.int64]") -> None:
    if train.batch_tokens is None:
        return
    if train.batching == "padded":
        raise SettingError("train.batch_tokens", "random batches that are padded (train.batching) have no such limit")
    if train.batch_tokens < lengths.max():
        raise SettingError(
            "train.batch_tokens", f"found {train.batch_tokens}, but the longest train row has {lengths.max()} tokens"
        )


def _refuse_unscored_best(train: "TrainSettings", batches: int) -> None:
    steps = train.max_steps or batches * train.epochs
    if train.selects_on_dev and train.evaluate_every != "epoch" and train.evaluate_every > steps:
        raise SettingError(
            "train.evaluate_every",
            f"found {train.evaluate_every}, but the run has {steps} steps: dev would never be scored, and no weights be the best",
        )


def find_test_slices(
    task: "Task", data: "TaskData", lengths: "NDArray[np.int64]", record: DataRecord
) -> "tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]":
    """Return the slices of the test rows, and what is to be said of their annotations; `lengths` (rows,) are tokens."""
    test = data.splits["test"]
    slices = find_slices(task, test, data.slice_columns, _list_shared_test_rows(record), lengths)
    if task.annotations is None:
        return slices, ()
    labels = label_texts(test.examples, data.label_names)
    annotated = find_annotated_rows(task, list(test.examples["row"]), texts_of(test.examples), labels)
    return slices | annotated.slices, annotated.notes


def _list_shared_test_rows(record: DataRecord) -> list[str]:
    """Return the test rows that stand in train too."""
    return [row for entry in record.shared_with_train if entry.part == "test" for row in entry.rows]


def add_token_counts(record: DataRecord, features: "Mapping[Part, FeatureRows]") -> DataRecord:
    """Return the record with what tokenisation found of the splits that were encoded."""
    splits = []
    for split in record.splits:
        if split.part not in features:
            splits.append(split)
            continue
        lengths = lengths_of_examples(features[split.part])
        found = {
            "truncated": features[split.part].truncated,
            "mean_tokens": round(float(lengths.mean()), 2),
            "longest_tokens": int(lengths.max()),
        }
        splits.append(split.model_copy(update=found))
    return record.model_copy(update={"splits": splits})
