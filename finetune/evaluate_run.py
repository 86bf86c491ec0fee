"""A fitted run measured on other rows: same model, same metrics, a report of its own.

Owns `finetune evaluate`. The model is never changed, and the run's own folder never written to.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.baselines import MAJORITY
from finetune.data import TaskData, load_data
from finetune.errors import DataError, as_finetune_error, first_line
from finetune.features import choose_max_length, encode_features
from finetune.fit import add_token_counts, list_shared_test_rows
from finetune.predict import FittedRun, build_predictions, load_run, predict_logits, probabilities_of
from finetune.provenance import build_provenance, start_clock
from finetune.recipe import Recipe
from finetune.records import Measurement, Report, Score
from finetune.report import SeedResult, build_seed_record
from finetune.run_dir import RunDir, write_lines, write_record, write_status
from finetune.run_folder import create_run_dir, unlock
from finetune.run_report import assemble_report, write_report
from finetune.scores import find_slices, score_rows, score_slices
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
    probabilities = probabilities_of(predict_logits(model, features, recipe.evaluate.batch_size))
    record = add_token_counts(data.record, {"test": features})
    slices = find_slices(task, test, data.slice_columns, list_shared_test_rows(record))
    scores = score_slices(task.metrics, features.labels, probabilities, slices, recipe.evaluate.bootstrap)
    result = SeedResult(run.report.saved_seed, probabilities, _untrained(run), scores, ())
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
        recipe,
        task,
        data,
        record,
        [result],
        [build_seed_record(result, task.primary_metric, names)],
        scores,
        _score_majority(run, recipe, features.labels),
        (run.report.saved_seed, f"whose weights lie in {run.path}"),
        provenance,
    )
    rows = list(test.examples["row"])
    write_lines(run_dir.predictions, build_predictions(rows, "test", list(features.labels), probabilities, names))
    write_record(run_dir.data, record)
    write_report(report, run_dir)
    return report


def _score_majority(run: FittedRun, recipe: Recipe, labels: NDArray[np.int64]) -> list[Score]:
    """Return the scores of the best constant answer, by the labels that the run was trained on."""
    train = next((split for split in run.report.data.splits if split.part == "train"), None)
    if train is None:
        return []
    shares = np.array(list(train.labels.values())) / train.rows
    answers = np.tile(shares, (len(labels), 1))
    return score_rows(get_task(recipe.task).metrics, labels, answers, recipe.evaluate.bootstrap, MAJORITY)


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
