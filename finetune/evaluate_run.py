"""A fitted run measured on other rows: same model, same metrics, a report of its own.

Owns `finetune evaluate`. The model is never changed, and the run's own folder never written to.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, build_answers
from finetune.baselines import MAJORITY
from finetune.data import TaskData, groups_of, load_data
from finetune.decisions import decide, read_decision, temper
from finetune.errors import DataError, as_finetune_error, first_line
from finetune.features import choose_max_length, encode_features
from finetune.predict import FittedRun, build_predictions, build_rows, load_run, predict_logits, probabilities_of
from finetune.prepare import add_token_counts, find_test_slices
from finetune.provenance import build_provenance, start_clock
from finetune.recipe import Recipe
from finetune.records import Measurement, Report
from finetune.report import SeedResult, build_seed_record
from finetune.run_dir import RunDir, write_lines, write_record, write_status
from finetune.run_folder import create_run_dir, unlock
from finetune.run_report import Evaluation, assemble_report, write_report
from finetune.scores import score_slices
from finetune.task import get_task


def evaluate_run(path: Path, data_path: Path | None, out: Path, *, command: str | None = None) -> Report:
    """Measure the model of the run in `path` on the rows of `data_path` (its own test rows where None); return the report.

    The labels and columns are the run's own. Everything is written to `out`.

    Raises:
        FinetuneError: no such run, or rows that don't fit it.
    """
    run = load_run(path)
    run_dir = create_run_dir(out, resume=False)
    try:
        report = _measure(run, data_path, run_dir, command)
        write_status(run_dir, "complete", "report written", 0)
    except Exception as error:
        told = as_finetune_error(error)
        write_status(run_dir, "failed", first_line(told), told.exit_code)
        raise
    finally:
        unlock(run_dir)
    return report


def _measure(run: FittedRun, data_path: Path | None, run_dir: RunDir, command: str | None) -> Report:
    clock = start_clock()
    names = run.report.data.labels
    recipe = _recipe_for_rows(run.report, data_path, names)
    task = get_task(recipe.task)
    data = _load_rows(run.report, recipe, data_path)
    model, tokenizer = run.loaded.model, run.loaded.tokenizer
    test = data.splits["test"]
    limit = choose_max_length(recipe.data.max_length, model.config, tokenizer)
    features = encode_features(test.examples, tokenizer, limit)
    decision = read_decision(RunDir(run.path).decision)
    raw = probabilities_of(predict_logits(model, features, recipe.evaluate.batch_size))
    answers = decide(features.labels, temper(raw, decision.temperature if decision else None), decision)
    record = add_token_counts(data.record, {"test": features})
    slices, notes = find_test_slices(task, data, features.lengths, record)
    record = record.model_copy(update={"notes": [*record.notes, *notes]})
    scores = score_slices(task.metrics, answers, slices, recipe.evaluate.bootstrap, groups=groups_of(test.examples))
    result = SeedResult(run.report.saved_seed, answers, _untrained(run), scores, (), decision=decision)
    baselines = _answer_by_majority(run, features.labels)
    evaluation = Evaluation(recipe, task, data, [result], slices, baselines)
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
        f"{run.report.name} on {data_path.name if data_path else 'its test rows'}",
        evaluation,
        record,
        [build_seed_record(result, task.primary_metric, names)],
        (run.report.saved_seed, f"whose weights lie in {run.path}"),
        provenance,
    )
    write_lines(run_dir.predictions, build_predictions(data, "test", answers))
    write_lines(run_dir.rows, build_rows(data))
    write_record(run_dir.data, record)
    write_report(report, run_dir)
    return report


def _answer_by_majority(run: FittedRun, labels: NDArray[np.int64]) -> dict[str, Answers]:
    """Return the best constant answer to rows with these labels, by the labels that the run was trained on."""
    train = next((split for split in run.report.data.splits if split.part == "train"), None)
    if train is None:
        return {}
    shares = np.array(list(train.labels.values())) / train.rows
    return {MAJORITY: build_answers(labels, np.tile(shares, (len(labels), 1)))}


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


def _load_rows(report: Report, recipe: Recipe, data_path: Path | None) -> TaskData:
    """Return the rows to measure on.

    Raises:
        DataError: the run's own test rows are asked for, and are no longer those that it reported.
    """
    task = get_task(report.task)
    if data_path is not None:
        return load_data(recipe, task)
    # Read as for training, since that may have carved the test from train.
    data = load_data(Recipe.model_validate(report.recipe), task)
    before, now = (
        next(split.fingerprint for split in record.splits if split.part == "test")
        for record in (report.data, data.record)
    )
    if before != now:
        raise DataError(f"{data.record.source}: the test rows have changed since the run; name rows with --data")
    return data


def _recipe_for_rows(report: Report, data_path: Path | None, names: list[str]) -> Recipe:
    """Return the run's recipe without training, on other rows where there are some, its labels fixed to the run's."""
    values = {**report.recipe, "train": None}
    if data_path is not None:
        path = str(data_path.absolute())
        # The rows of one named file are all measured; of a folder, its test.
        values["data"] = {
            **report.recipe["data"],
            "path": path if data_path.is_dir() else {"test": path},
            "max_test_rows": None,
            # New rows need not come with the names and groups of the old ones.
            "columns": {**report.recipe["data"]["columns"], "id": None, "group": None},
        }
        values["expect"] = {}
    task = get_task(report.task)
    if values["data"]["labels"] is None and task.labels is None:
        values["data"] = {**values["data"], "labels": names}
    return Recipe.model_validate(values)
