"""A fitted run measured on other rows: same model, same metrics, a report of its own.

Owns `finetune evaluate`: which rows play the test, and what they were to the run. What may be required of the scores is
`requirements`. The model is never changed, and the run's own folder never written to.
"""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from finetune.baseline_answers import answer_by_recorded_train
from finetune.data import TaskData, groups_of, load_data
from finetune.decisions import apply_decision, read_decision
from finetune.documents import open_rows
from finetune.errors import DataError, MissingInputError, UsageError, as_finetune_error, first_line
from finetune.fitted_run import FittedRun, load_run
from finetune.predictions import build_predictions, build_rows
from finetune.prepare import add_token_counts, find_test_slices
from finetune.provenance import build_provenance, start_clock
from finetune.recipe import Recipe
from finetune.record_files import write_lines, write_record
from finetune.records import DataRecord, Report, SharedRows
from finetune.report import SeedResult, build_seed_record
from finetune.run_dir import RunDir, complete_run, write_status
from finetune.run_folder import create_run_dir, unlock
from finetune.run_records import Measurement
from finetune.run_report import Evaluation, assemble_report, write_report
from finetune.scores import score_slices
from finetune.sources import build_layout, locate_data
from finetune.task import Part, get_task
from finetune.wording import list_words


def evaluate_run(
    path: Path, data_path: Path | None, out: Path, *, split: Part = "test", command: str | None = None
) -> Report:
    """Measure the model of the run in `path` on rows of `data_path`, or on its own where None; return the report.

    `split` says which of its own rows, or which part of a folder. Labels and columns are the run's own. Everything is written to
    `out`.

    Raises:
        FinetuneError: no such run, or rows that don't fit it.
    """
    run = load_run(path)
    if data_path is not None and split != "test" and data_path.is_file():
        raise UsageError(
            f"--split {split}: {data_path} is one file, all of whose rows are measured; a folder has parts"
        )
    run_dir = create_run_dir(out, resume=False)
    try:
        report = _measure(run, data_path, split, run_dir, command)
        complete_run(run_dir)
    except Exception as error:
        told = as_finetune_error(error)
        write_status(run_dir, "failed", first_line(told), told.exit_code)
        raise
    finally:
        unlock(run_dir)
    return report


def _measure(run: FittedRun, data_path: Path | None, split: Part, run_dir: RunDir, command: str | None) -> Report:
    clock = start_clock()
    names = run.report.data.labels
    recipe = _recipe_for_rows(run.report, data_path, split)
    task = get_task(recipe.task)
    data = load_data(_without_shots(recipe), task) if data_path is not None else _load_own_rows(run, split)
    test = data.splits["test"]
    # Masks and prompts are drawn as they were for the run.
    objective = run.objective
    features = objective.encode(test.examples, "test")
    decision = read_decision(RunDir(run.path).decision)
    said = objective.answer(run.loaded.model, features, recipe.evaluate.batch_size)
    answers = apply_decision(said, decision)
    record = add_token_counts(data.record, {"test": features})
    slices, notes = find_test_slices(task, data, features.lengths, record)
    record = record.model_copy(update={"notes": [*record.notes, *notes]})
    scores = score_slices(task.metrics, answers, slices, recipe.evaluate.bootstrap, groups=groups_of(test.examples))
    result = SeedResult(run.report.saved_seed, answers, _untrained(run), scores, (), decision=decision)
    train = next((entry for entry in run.report.data.splits if entry.part == "train"), None)
    baselines = answer_by_recorded_train(train, answers)
    evaluation = Evaluation(recipe, task, data, objective, [result], result.seed, slices, baselines)
    provenance = build_provenance(
        command or shlex.join(sys.argv),
        clock,
        [result.measurement],
        processes=1,
        threads=None,
        checkpoint=str(run.path),
        sha256=run.report.provenance.checkpoint_sha256,
    )
    report = assemble_report(
        f"{run.report.name} on {data_path.name if data_path else f'its {split} rows'}",
        evaluation,
        record,
        [build_seed_record(result, task.primary_metric, names)],
        f"whose weights lie in {run.path}",
        provenance,
    )
    if data_path is None:
        report = report.model_copy(update={"warnings": [*_describe_use(run.report, split), *report.warnings]})
    write_lines(run_dir.predictions, build_predictions(data, "test", answers))
    write_lines(run_dir.rows, build_rows(data))
    write_record(run_dir.data, record)
    write_report(report, run_dir)
    return report


def _without_shots(recipe: Recipe) -> Recipe:
    """Return the recipe as it concerns new rows; worked examples are among the run's own train rows."""
    if recipe.evaluate.prompt is None:
        return recipe
    prompt = recipe.evaluate.prompt.model_copy(update={"shots": 0})
    return recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"prompt": prompt})})


def _untrained(run: FittedRun) -> Measurement:
    """Return the measurement of a seed that only predicted."""
    return Measurement(
        seed=run.report.saved_seed,
        train_seconds=0.0,
        examples_seen=0,
        tokens_seen=0,
        padded_tokens_seen=0,
        final_loss=None,
        dev_score=None,
        precision="fp32",
        parameters=run.loaded.model.num_parameters(),
        notes=[],
    )


def _load_own_rows(run: FittedRun, split: Part) -> TaskData:
    """Return the run's own rows, with those of `split` in the place of the test.

    Raises:
        DataError: the run had no such rows, or they are no longer those that it used.
    """
    report = run.report
    parts = {entry.part: entry.fingerprint for entry in report.data.splits}
    if split not in parts:
        raise DataError(
            f"{run.path}: the run has no {split} rows, only {list_words(list(parts))} ({report.data.selection})"
        )
    # Read as for training, since that may have carved them from others.
    data = load_data(Recipe.model_validate(report.recipe), get_task(report.task))
    now = {entry.part: entry.fingerprint for entry in data.record.splits}
    if now.get(split) != parts[split] or list(data.label_names) != report.data.labels:
        raise DataError(f"{data.record.source}: the {split} rows have changed since the run; name rows with --data")
    return data if split == "test" else _put_in_place_of_test(data, split)


def _put_in_place_of_test(data: TaskData, part: Part) -> TaskData:
    """Return the data with the rows of another part as its test, and the train rows beside them where those are others."""
    train = {name: split for name, split in data.splits.items() if name == "train" and part != "train"}
    entries = [
        entry if entry.part != part else entry.model_copy(update={"part": "test", "origin": f"{part}: {entry.origin}"})
        for entry in data.record.splits
        if entry.part in (*train, part)
    ]
    shared = [SharedRows(part="test", rows=entry.rows) for entry in data.record.shared_with_train if entry.part == part]
    record: DataRecord = data.record.model_copy(
        update={"splits": entries, "shared_with_train": shared, "dropped_train_rows": 0}
    )
    played = replace(data.splits[part], part="test")
    columns = tuple(name for name in data.slice_columns if f"slice:{name}" in played.examples.column_names)
    return replace(data, splits={**train, "test": played}, slice_columns=columns, record=record)


def _describe_use(report: Report, split: Part) -> list[str]:
    """Return what must be said first of scores on rows that made the model what it is."""
    if split == "train":
        return ["These are the rows that the model was trained on: the scores say how well it fits them, and no more."]
    if split == "test":
        return []
    settings = Recipe.model_validate(report.recipe).train
    uses = {
        "its weights": settings is not None and settings.selects_on_dev,
        "its seed": len(report.seeds) > 1 and any(seed.dev_score is not None for seed in report.seeds),
        "its temperature": any(decision.temperature is not None for decision in report.decisions),
        "its threshold": any(decision.threshold is not None for decision in report.decisions),
    }
    chosen = [name for name, is_chosen in uses.items() if is_chosen]
    return [f"These dev rows chose {list_words(chosen)}: the scores flatter the model."] if chosen else []


def _recipe_for_rows(report: Report, data_path: Path | None, split: Part) -> Recipe:
    """Return the run's recipe without training, on other rows where there are some, its labels fixed to the run's."""
    values = {**report.recipe, "train": None}
    if data_path is not None:
        values["data"] = {
            **report.recipe["data"],
            "path": _path_of_rows(report, data_path, split),
            "max_test_rows": None,
            # New rows need not come with the names and groups of the old ones.
            "columns": {**report.recipe["data"]["columns"], "id": None, "group": None},
        }
        if data_path.is_file():
            values["evaluate"] = {**report.recipe["evaluate"], "slices": _find_slice_columns(report, data_path)}
    if data_path is not None or split != "test":
        # Its bands speak of its test rows.
        values["expect"] = {}
    task = get_task(report.task)
    if values["data"]["labels"] is None and task.labels is None and report.data.labels:
        values["data"] = {**values["data"], "labels": report.data.labels}
    return Recipe.model_validate(values)


def _find_slice_columns(report: Report, data_path: Path) -> list[str]:
    """Return those of the run's slice columns that a file has; new rows need not come with them."""
    task = get_task(report.task)
    layout = build_layout(Recipe.model_validate(report.recipe), task.source.layout if task.source else None)
    table = open_rows(data_path, layout)
    return [column for column in report.recipe["evaluate"]["slices"] if column in table.columns]


def _path_of_rows(report: Report, data_path: Path, split: Part) -> str | dict[str, str]:
    """Return the data path of a recipe that measures one part of a folder, or all rows of a file.

    Raises:
        MissingInputError: the folder has no such part.
    """
    path = str(data_path.absolute())
    if not data_path.is_dir():
        return {"test": path}
    if split == "test":
        return path
    values = {
        **report.recipe,
        "train": {} if split == "train" else None,
        "data": {**report.recipe["data"], "path": path},
    }
    located = locate_data(Recipe.model_validate(values), get_task(report.task))
    if split not in located.files:
        raise MissingInputError(f"{data_path}: no {split}.* in this folder, only {list_words(list(located.files))}")
    return {"test": str(located.files[split][0])}
