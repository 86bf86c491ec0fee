"""A run, from recipe to report: the table of contents of the whole program.

Owns the order of things. Each step is done by the module that bears its name.
"""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from finetune.baselines import BAG_OF_WORDS, MAJORITY, bag_of_words_probabilities, majority_probabilities
from finetune.data import TaskData, load_data, texts_of
from finetune.errors import FinetuneError, MissingInputError
from finetune.machine import choose_threads, device_name, git_state, installed_versions, peak_memory_megabytes
from finetune.predict import FittedRun, build_predictions
from finetune.processes import Processes, join_processes
from finetune.recipe_file import LoadedRecipe
from finetune.records import DataRecord, Provenance, Report, Score, SeedRecord
from finetune.report import (
    build_confusion,
    build_seed_record,
    find_mistakes,
    judge_bands,
    list_warnings,
    predictor_name,
    summarise_seeds,
)
from finetune.resolved import refuse_changed_recipe, write_resolved_recipe
from finetune.run_dir import (
    RunDir,
    create_run_dir,
    default_run_path,
    find_unfinished_run,
    link_latest,
    read_status,
    unlock,
    write_predictions,
    write_record,
    write_status,
)
from finetune.scores import find_slices, score_rows, score_slices
from finetune.task import get_task

Resume = bool | Literal["auto"]


@dataclass(frozen=True)
class Clock:
    """When a run began."""

    started: str
    monotonic: float


def run_recipe(
    loaded: LoadedRecipe, out: str | Path | None = None, *, resume: Resume = False, command: str | None = None
) -> FittedRun:
    """Train, evaluate and report a recipe; return the completed run.

    Raises:
        FinetuneError: with the exit code of its cause; what was written until then stays, and nothing else is touched.
    """
    clock = Clock(datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic())
    processes = join_processes()
    path, is_resumed = processes.agree(_choose_path(loaded, out, resume) if processes.is_first else (Path(), False))
    run_dir = RunDir(path)
    if is_resumed and (status := read_status(run_dir)) is not None and status.state == "complete":
        return FittedRun(path)
    if processes.is_first and path.is_dir() and any(path.iterdir()) and not is_resumed:
        create_run_dir(path, resume=False)
    data = load_data(loaded.recipe, get_task(loaded.recipe.task))
    if processes.is_first:
        create_run_dir(path, resume=is_resumed)
        write_status(run_dir, "running", "training")
    processes.wait()
    try:
        _run_in(run_dir, loaded, data, processes, clock, command or " ".join(sys.argv), is_resumed=is_resumed)
    except BaseException as error:
        if processes.is_first:
            _record_failure(run_dir, error)
        raise
    if processes.is_first:
        write_status(run_dir, "complete", "report written", 0)
        unlock(run_dir)
        link_latest(run_dir, loaded.name)
    processes.wait()
    return FittedRun(path)


def _choose_path(loaded: LoadedRecipe, out: str | Path | None, resume: Resume) -> tuple[Path, bool]:
    """Return the run folder and whether there is something in it to resume."""
    if not resume:
        return Path(out) if out is not None else default_run_path(loaded.name), False
    found = Path(out) if out is not None else find_unfinished_run(loaded.name)
    if found is not None and RunDir(found).recipe.is_file():
        refuse_changed_recipe(loaded.recipe, RunDir(found).recipe)
        return found, True
    if resume == "auto":
        return (found or default_run_path(loaded.name)), False
    where = f"{out} holds no run" if out is not None else f"runs/{loaded.name} holds no unfinished run"
    raise MissingInputError(f"nothing to resume: {where} (--resume=auto would start a fresh one)")


def _record_failure(run_dir: RunDir, error: BaseException) -> None:
    is_stopped = isinstance(error, KeyboardInterrupt)
    code = error.exit_code if isinstance(error, FinetuneError) else 130 if is_stopped else 70
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    # The disk that failed the run may fail its status too; the first error is the one to show.
    with suppress(FinetuneError):
        write_status(run_dir, "stopped" if is_stopped else "failed", message, code)
    unlock(run_dir)


def _run_in(
    run_dir: RunDir,
    loaded: LoadedRecipe,
    data: TaskData,
    processes: Processes,
    clock: Clock,
    command: str,
    *,
    is_resumed: bool,
) -> None:
    from finetune.features import choose_max_length, encode_features
    from finetune.fit import SeedJob, fit_seed
    from finetune.model import find_checkpoint, load_config, load_tokenizer

    recipe, task = loaded.recipe, get_task(loaded.recipe.task)
    checkpoint = find_checkpoint(recipe.model)
    tokenizer = load_tokenizer(checkpoint)
    limit = choose_max_length(recipe.data.max_length, load_config(checkpoint), tokenizer)
    features = {part: encode_features(split.examples, tokenizer, limit) for part, split in data.splits.items()}
    record = _add_token_counts(data.record, features)
    shared = [row for entry in record.shared_with_train if entry.part == "test" for row in entry.rows]
    slices = find_slices(task, data.splits["test"], data.slice_columns, shared)
    if processes.is_first:
        write_resolved_recipe(recipe, run_dir.recipe)
        write_record(run_dir.data, record)
    job = SeedJob(recipe, task, data, checkpoint, features, slices, processes, loaded.name)
    is_single = len(recipe.seeds) == 1
    results = [
        fit_seed(job, seed, run_dir if is_single else run_dir.seed(seed), resume=is_resumed) for seed in recipe.seeds
    ]
    if not processes.is_first:
        return
    seeds = [build_seed_record(result, task.primary_metric, data.label_names) for result in results]
    saved_model = _keep_model(run_dir, seeds, task.primary_metric)
    expected = features["test"].labels
    averaged = np.mean([result.probabilities for result in results], axis=0)
    rows = list(data.splits["test"].examples["row"])
    if is_single:
        scores = list(results[0].scores)
    else:
        write_predictions(
            run_dir.predictions, build_predictions(rows, "test", list(expected), averaged, data.label_names)
        )
        scores = score_slices(task.metrics, expected, averaged, slices, recipe.evaluate.bootstrap, "ensemble of seeds")
        scores += [
            score.model_copy(update={"predictor": predictor_name(result.seed)})
            for result in results
            for score in result.scores
        ]
    summaries = summarise_seeds(results) if not is_single else []
    baselines = (
        _score_baselines(data, expected, task.metrics, recipe.evaluate.bootstrap) if "train" in data.splits else []
    )
    measurements = [result.measurement for result in results if result.measurement is not None]
    report = Report(
        name=loaded.name,
        task=task.name,
        title=task.title,
        primary_metric=task.primary_metric,
        seeds=seeds,
        warnings=list_warnings(record, seeds, scores, baselines, task.primary_metric, []),
        data=record,
        scores=scores,
        seed_summaries=summaries,
        baselines=baselines,
        bands=judge_bands(recipe.expect, scores, summaries),
        confusion=build_confusion(expected, averaged, data.label_names),
        mistakes=find_mistakes(rows, texts_of(data.splits["test"].examples), expected, averaged, data.label_names),
        history=[point for result in results for point in result.history],
        saved_model=saved_model,
        recipe=recipe.model_dump(mode="json"),
        provenance=_build_provenance(
            command,
            clock,
            processes,
            recipe.train.threads if recipe.train else None,
            measurements,
            checkpoint.name,
            checkpoint.sha256,
        ),
    )
    write_report(report, run_dir)


def write_report(report: Report, run_dir: RunDir) -> None:
    """Write report.json and what is rendered from it."""
    write_record(run_dir.report, report)
    from finetune.render import render_files

    render_files(report, run_dir)


def _add_token_counts(record: DataRecord, features: Mapping) -> DataRecord:
    splits = [
        split.model_copy(
            update={
                "truncated": features[split.part].truncated,
                "mean_tokens": round(float(features[split.part].lengths.mean()), 2),
                "longest_tokens": int(features[split.part].lengths.max()),
            }
        )
        for split in record.splits
    ]
    return record.model_copy(update={"splits": splits})


def _keep_model(run_dir: RunDir, seeds: Sequence[SeedRecord], primary_metric: str) -> str:
    """Put one seed's model at the top of a run of several seeds; return which, and why."""
    if len(seeds) == 1:
        return f"seed {seeds[0].seed}, the only one"
    on_dev = [seed for seed in seeds if seed.dev_score is not None]
    chosen = max(on_dev, key=lambda seed: seed.dev_score or 0.0) if on_dev else seeds[0]
    if not run_dir.model.exists():
        # The same files under a second name: no space taken, and the folder stays whole when it is moved.
        shutil.copytree(run_dir.seed(chosen.seed).model, run_dir.model, copy_function=_link_or_copy)
    if on_dev:
        return f"seed {chosen.seed}, the best of {len(seeds)} by {primary_metric} on dev"
    return f"seed {chosen.seed}, the first: without dev rows nothing may choose among seeds"


def _link_or_copy(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _score_baselines(data: TaskData, expected: np.ndarray, metrics: Sequence[str], resamples: int) -> list[Score]:
    majority = majority_probabilities(
        list(data.splits["train"].examples["label"]), len(expected), len(data.label_names)
    )
    return [
        *score_rows(metrics, expected, majority, resamples, MAJORITY),
        *score_rows(metrics, expected, bag_of_words_probabilities(data), resamples, BAG_OF_WORDS),
    ]


def _build_provenance(
    command: str,
    clock: Clock,
    processes: Processes,
    threads: int | None,
    measurements: Sequence,
    checkpoint: str,
    sha256: str,
) -> Provenance:
    seconds = sum(measurement.train_seconds for measurement in measurements)
    examples, tokens = (
        sum(getattr(measurement, name) for measurement in measurements) for name in ("examples_seen", "tokens_seen")
    )
    padded = sum(measurement.padded_tokens_seen for measurement in measurements)
    return Provenance(
        command=command,
        started=clock.started,
        seconds=round(time.monotonic() - clock.monotonic, 2),
        train_seconds=round(seconds, 2),
        examples_per_second=round(examples / seconds, 1) if examples else None,
        tokens_per_second=round(tokens / seconds, 1) if tokens else None,
        padding_share=round(1 - tokens / padded, 4) if padded else None,
        peak_memory_megabytes=round(peak_memory_megabytes(), 1),
        device=device_name(),
        processes=processes.count,
        threads=choose_threads(threads, processes.count),
        precision=measurements[0].precision,
        parameters=measurements[0].parameters,
        checkpoint=checkpoint,
        checkpoint_sha256=sha256,
        versions=installed_versions(),
        git=git_state(),
    )
