"""One seed of a run: its model, training and test predictions, kept on disk so that a resumed run need not repeat it.

Owns the order of those steps for a seed. The run around the seeds is `run`.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.answers import Answers, AnyAnswers
from finetune.batching import order_batches
from finetune.checkpoint_files import find_checkpoint
from finetune.data import groups_of
from finetune.decisions import apply_decision, fit_decision, read_decision
from finetune.findings import Decision
from finetune.machine import choose_threads
from finetune.memory import keep_freed_memory, peak_memory_megabytes
from finetune.model import load_model, place_on_device, save_model
from finetune.objective import TrainedObjective
from finetune.packing import settle_batching
from finetune.predictions import build_predictions, read_answers
from finetune.prepare import SeedJob, take_seed
from finetune.record_files import read_lines, write_lines, write_record
from finetune.records import Event, HistoryPoint, Score
from finetune.report import SeedResult
from finetune.run_dir import RunDir, read_measurement
from finetune.run_records import Measurement
from finetune.scores import measure_slices, score_slices
from finetune.training import TrainOutcome, train_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.task import Part


@dataclass(frozen=True)
class _Fitted:
    """What is known of a seed once it is fitted; see `SeedResult`."""

    answers: AnyAnswers
    measurement: Measurement
    dev_answers: AnyAnswers | None
    decision: Decision | None
    start_answers: AnyAnswers | None


def fit_seed(
    job: SeedJob, seed: int, run_dir: RunDir, *, resume: bool, tell: Callable[[str], None] = lambda line: None
) -> SeedResult:
    """Train, predict and score one seed, or read what an interrupted run has finished of it; `tell` gets what users should know.

    Raises:
        InvalidResultError: a loss, gradient or output is not finite.
    """
    finished = job.processes.agree(read_measurement(run_dir) if resume and run_dir.predictions.exists() else None)
    if finished is None:
        fitted = _train_and_predict(take_seed(job, seed), seed, run_dir, resume=resume, tell=tell)
    else:
        fitted = _read_fitted(job, finished, run_dir)
    return SeedResult(
        seed,
        fitted.answers,
        fitted.measurement,
        _score(job, fitted.answers) if job.processes.is_first else [],
        _read_history(run_dir, seed, job.task.primary_metric),
        fitted.dev_answers,
        fitted.decision,
        fitted.start_answers,
    )


def _score(job: SeedJob, answers: AnyAnswers) -> list[Score]:
    """Return the scores of one seed; of several, the slices have their intervals in the mean and the ensemble."""
    groups = groups_of(job.data.splits["test"].examples)
    measure = score_slices if len(job.recipe.seeds) == 1 else measure_slices
    return measure(job.task.metrics, answers, job.slices, job.recipe.evaluate.bootstrap, groups=groups)


def _read_fitted(job: SeedJob, measurement: Measurement, run_dir: RunDir) -> _Fitted:
    """Return what an interrupted run has written of a seed that it finished."""
    decision = read_decision(run_dir.decision)
    has_start = run_dir.start_predictions.exists()
    names = job.data.label_names
    return _Fitted(
        read_answers(run_dir.predictions, names).answers,
        measurement,
        read_answers(run_dir.dev_predictions, names).answers if decision else None,
        decision,
        read_answers(run_dir.start_predictions, names).answers if has_start else None,
    )


def _train_and_predict(
    job: SeedJob, seed: int, run_dir: RunDir, *, resume: bool, tell: Callable[[str], None]
) -> _Fitted:
    import torch
    from transformers import set_seed

    recipe, processes = job.recipe, job.processes
    if processes.is_first:
        run_dir.path.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(choose_threads(recipe.train.threads if recipe.train else None, processes.count))
    keep_freed_memory()
    set_seed(seed)
    loaded = load_model(job.start, job.objective, job.data.label_names, may_draw_head=recipe.train is not None)
    start_answers = None
    if job.plan is not None and job.objective.measures_start and seed == recipe.seeds[0]:
        place_on_device(loaded.model)
        start_answers = _answer(job, loaded.model, "test")
    outcome = TrainOutcome(0.0, 0, 0, 0, None, None)
    resume_from, passed_over = processes.agree(_find_checkpoint(job, run_dir) if resume else (None, []))
    for line in passed_over:
        tell(f"{job.name}, seed {seed}: {line}")
    if job.plan is not None:
        assert isinstance(job.objective, TrainedObjective)
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
            objective=job.objective,
            title=f"{job.name}, seed {seed}",
            resume_from=resume_from,
        )
    else:
        place_on_device(loaded.model)
    dev_answers = decision = None
    if recipe.evaluate.decides_on_dev:
        on_dev = _answer(job, loaded.model, "dev")
        assert isinstance(on_dev, Answers)
        decision = fit_decision(on_dev.expected, on_dev.probabilities, recipe.evaluate)
        dev_answers = apply_decision(on_dev, decision)
    answers = apply_decision(_answer(job, loaded.model, "test"), decision)
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
        peak_memory_megabytes=round(peak_memory_megabytes(), 1),
        notes=[*loaded.notes, *_note_batching(job), *_note_idle(job), *_note_resume(resume_from, passed_over)],
    )
    if processes.is_first:
        save_model(loaded, run_dir.model)
        if decision is not None and dev_answers is not None:
            write_record(run_dir.decision, decision)
            write_lines(run_dir.dev_predictions, build_predictions(job.data, "dev", dev_answers))
        if start_answers is not None:
            write_lines(run_dir.start_predictions, build_predictions(job.data, "test", start_answers))
        write_lines(run_dir.predictions, build_predictions(job.data, "test", answers))
        # Written last: a seed with a measurement is a finished seed.
        write_record(run_dir.measurement, measurement)
        shutil.rmtree(run_dir.checkpoints, ignore_errors=True)
    processes.wait()
    return _Fitted(answers, measurement, dev_answers, decision, start_answers)


def _answer(job: SeedJob, model: "PreTrainedModel", part: "Part") -> AnyAnswers:
    return job.objective.answer(
        model,
        job.features[part],
        job.recipe.evaluate.batch_size,
        process=job.processes.rank,
        processes=job.processes.count,
    )


def _find_checkpoint(job: SeedJob, run_dir: RunDir) -> tuple[Path | None, list[str]]:
    """Return the checkpoint from which a seed goes on, and a line about each that had to be passed over."""
    return find_checkpoint(run_dir.checkpoints) if job.processes.is_first else (None, [])


def _note_batching(job: SeedJob) -> list[str]:
    train = job.recipe.train
    if train is None or not isinstance(job.objective, TrainedObjective):
        return []
    settled = settle_batching(train.batching, job.objective.layout)
    notes = []
    if settled != train.batching:
        reason = f"architecture {job.start.config.model_type} has no {train.batching} form here"
        if train.torch_compile:
            reason = "torch.compile would compile each packed batch anew"
        notes.append(f"batches are {settled}, since {reason}")
    if job.plan is not None and job.plan.tokens is not None:
        sizes = [len(batch) for batch in order_batches(job.features["train"].lengths, job.plan, settled, 0, 0)]
        notes.append(
            f"batches of about {job.plan.tokens:,} tokens hold {min(sizes):,} to {max(sizes):,} rows; each batch counts alike, so a row "
            "of one with few rows weighs more"
        )
    return notes


def _note_idle(job: SeedJob) -> list[str]:
    """Return a line where there are fewer rows than processes to learn from them."""
    count = job.processes.count
    if job.plan is None or (rows := len(job.features["train"])) >= count:
        return []
    return [f"{count} processes shared {rows} train rows: {count - rows} of them had nothing to learn from"]


def _note_resume(resume_from: Path | None, passed_over: Sequence[str]) -> list[str]:
    return [*([f"resumed from {resume_from.name}"] if resume_from else []), *passed_over]


def _read_history(run_dir: RunDir, seed: int, primary_metric: str) -> list[HistoryPoint]:
    if not run_dir.events.exists():
        return []
    return [
        HistoryPoint(seed=seed, **event.model_dump(exclude={"dev", "seconds"}), dev_score=event.dev.get(primary_metric))
        for event in read_lines(Event, run_dir.events)
    ]
