"""A run, from recipe to report: the table of contents of the whole program.

Owns the order of things. Each step is done by the module that bears its name.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from finetune.baseline_answers import answer_by_baselines
from finetune.changes import describe_beginning, find_changed_values, find_changes, refuse_changes, refuse_cut_weights
from finetune.data import load_data
from finetune.disk_space import refuse_full_disk
from finetune.errors import (
    FinetuneError,
    MissingInputError,
    SettingError,
    StoppedError,
    as_finetune_error,
    first_line,
)
from finetune.fitted_run import FittedRun
from finetune.machine import refuse_old_versions
from finetune.metrics import get_metric
from finetune.model_card import write_model_card
from finetune.predictions import build_predictions, build_rows
from finetune.prepare import SeedJob, prepare_job
from finetune.processes import join_processes
from finetune.provenance import Clock, build_provenance, start_clock
from finetune.recipe_file import LoadedRecipe
from finetune.record_files import write_lines, write_record
from finetune.records import SeedRecord
from finetune.report import build_seed_record
from finetune.resolved import write_resolved_recipe
from finetune.run_dir import RunDir, complete_run, read_beginning, read_status, write_status
from finetune.run_folder import (
    create_run_dir,
    default_run_path,
    find_unfinished_run,
    link_latest,
    refuse_links,
    refuse_used_folder,
    unlock,
)
from finetune.run_records import Beginning
from finetune.run_report import Evaluation, assemble_report, write_report
from finetune.seed_jobs import fit_seeds
from finetune.stopping import heed_signals
from finetune.task import get_task

Resume = bool | Literal["auto"]


@heed_signals()
def run_recipe(
    loaded: LoadedRecipe,
    out: str | Path | None = None,
    *,
    resume: Resume = False,
    allow_changes: Sequence[str] = (),
    jobs: int = 1,
    command: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> FittedRun:
    """Train, evaluate and report a recipe, `jobs` seeds at a time; return the completed run. `tell` gets a line about each seed.

    Raises:
        FinetuneError: with the exit code of its cause; what was written until then stays, and nothing else is touched.
    """
    refuse_old_versions()
    clock = start_clock()
    processes = join_processes()
    path, is_resumed = processes.agree(
        _choose_path(loaded, out, resume, allow_changes) if processes.is_first else (Path(), False)
    )
    run_dir = RunDir(path)
    if is_resumed and (status := read_status(run_dir)) is not None and status.state == "complete":
        return FittedRun(path)
    if processes.is_first and not is_resumed:
        refuse_used_folder(path)
    if is_resumed:
        refuse_cut_weights()
    task = get_task(loaded.recipe.task)
    try:
        job = prepare_job(loaded, task, load_data(loaded.recipe, task), processes)
    except SettingError as error:
        raise loaded.put_place(error) from None
    beginning = _compare_beginning(run_dir, job, jobs, allow_changes)
    if processes.is_first:
        if not is_resumed:
            refuse_full_disk(path, loaded.recipe, job.parameters, len(job.features["test"]), jobs=jobs)
        create_run_dir(path, resume=is_resumed)
        write_status(run_dir, "running", "training")
    processes.wait()
    try:
        command = command or shlex.join(sys.argv)
        _run_in(run_dir, job, beginning, clock, command, is_resumed=is_resumed, jobs=jobs, tell=tell)
    except BaseException as error:
        _record_failure(run_dir, error, processes.rank)
        raise
    if processes.is_first:
        complete_run(run_dir)
        unlock(run_dir)
        link_latest(run_dir, loaded.name)
    processes.wait()
    return FittedRun(path)


def _choose_path(
    loaded: LoadedRecipe, out: str | Path | None, resume: Resume, allow_changes: Sequence[str]
) -> tuple[Path, bool]:
    """Return the run folder and whether there is something in it to resume."""
    if not resume:
        return Path(out) if out is not None else default_run_path(loaded.name), False
    found = Path(out) if out is not None else find_unfinished_run(loaded.name)
    # A lock without a recipe is what a run leaves that was killed as it began.
    if found is not None and (RunDir(found).recipe.is_file() or RunDir(found).lock.is_file()):
        refuse_links(found)
        # The rest is compared once it is known; the recipe at once, before anything is read.
        refuse_changes(find_changed_values(loaded.recipe, RunDir(found)), allow_changes)
        return found, True
    if resume == "auto":
        return (found or default_run_path(loaded.name)), False
    where = f"{out} holds no run" if out is not None else f"runs/{loaded.name} holds no unfinished run"
    raise MissingInputError(f"nothing to resume: {where} (--resume=auto would start a fresh one)")


def _record_failure(run_dir: RunDir, error: BaseException, rank: int) -> None:
    told = as_finetune_error(error)
    state = "stopped" if isinstance(told, StoppedError) else "failed"
    # The disk that failed the run may fail its status too; the first error is the one to show.
    with suppress(FinetuneError):
        write_status(run_dir, state, first_line(told), told.exit_code, rank=rank)
    if rank == 0:
        unlock(run_dir)


def _run_in(
    run_dir: RunDir,
    job: SeedJob,
    beginning: Beginning,
    clock: Clock,
    command: str,
    *,
    is_resumed: bool,
    jobs: int,
    tell: Callable[[str], None],
) -> None:
    recipe, task, data, processes = job.recipe, job.task, job.data, job.processes
    if processes.is_first:
        write_resolved_recipe(recipe, run_dir.recipe)
        write_record(run_dir.data, job.record)
        write_record(run_dir.beginning, beginning)
        write_lines(run_dir.rows, build_rows(data))
    is_single = len(recipe.seeds) == 1

    def folder_of(seed: int) -> RunDir:
        return run_dir if is_single else run_dir.seed(seed)

    results = fit_seeds(job, recipe.seeds, folder_of, resume=is_resumed, jobs=jobs, tell=tell)
    if not processes.is_first:
        return
    seeds = [build_seed_record(result, task.primary_metric, data.label_names) for result in results]
    saved_seed, reason = _choose_seed(seeds, task.primary_metric)
    baselines = answer_by_baselines(job, results[0].answers, results[0].start_answers)
    evaluation = Evaluation(recipe, task, data, job.objective, results, saved_seed, job.slices, baselines)
    if not is_single:
        _keep_model(run_dir, saved_seed)
        write_lines(run_dir.predictions, build_predictions(data, "test", evaluation.answers))
    provenance = build_provenance(
        command,
        clock,
        [result.measurement for result in results],
        processes=processes.count,
        threads=recipe.train.threads if recipe.train else None,
        checkpoint=job.start.name,
        sha256=job.start.sha256,
        lineage=job.start.lineage,
        jobs=min(jobs, len(recipe.seeds)),
        changes=beginning.changes,
    )
    report = assemble_report(job.name, evaluation, job.record, seeds, reason, provenance)
    write_report(report, run_dir)
    write_model_card(report, run_dir)


def _compare_beginning(run_dir: RunDir, job: SeedJob, jobs: int, allow_changes: Sequence[str]) -> Beginning:
    """Return what the run begins with, or goes on with, and what was allowed to change in between.

    Raises:
        RecipeError: a line for each change that wasn't allowed.
    """
    before = read_beginning(run_dir)
    now = describe_beginning(job, min(jobs, len(job.recipe.seeds)), before.changes if before else ())
    allowed = refuse_changes(find_changes(run_dir, job.recipe, job.record, now), allow_changes)
    return now.model_copy(update={"changes": [*now.changes, *allowed]})


def _choose_seed(seeds: Sequence[SeedRecord], primary_metric: str) -> tuple[int, str]:
    """Return which seed's model a run keeps, and why."""
    if len(seeds) == 1:
        return seeds[0].seed, "the only one"
    on_dev = {seed.dev_score: seed.seed for seed in reversed(seeds) if seed.dev_score is not None}
    if not on_dev:
        return seeds[0].seed, "the first: no score on dev can choose among seeds"
    best = max(on_dev) if get_metric(primary_metric).higher_is_better else min(on_dev)
    return on_dev[best], f"the best of {len(seeds)} by {primary_metric} on dev"


def _keep_model(run_dir: RunDir, seed: int) -> None:
    """Put one seed's model at the top of a run of several seeds, whole or not at all."""
    beside = run_dir.model.with_name(f".{run_dir.model.name}.{os.getpid()}")
    # The same files under a second name: no space taken, and the folder stays whole when it is moved.
    shutil.copytree(run_dir.seed(seed).model, beside, copy_function=_link_or_copy)
    shutil.rmtree(run_dir.model, ignore_errors=True)
    beside.rename(run_dir.model)


def _link_or_copy(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
