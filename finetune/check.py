"""Whether a recipe will run here, found out without writing a run: recipe, data, model, one real training step.

Owns the stages of `finetune check` and the estimate of steps, minutes and gigabytes. Later stages are tried only where
the earlier ones allow it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.data_checks import describe_rows
from finetune.errors import FinetuneError, SettingError, UnavailableError
from finetune.recipe_file import LoadedRecipe, load_recipe

if TYPE_CHECKING:
    from finetune.data import TaskData
    from finetune.model import LoadedModel
    from finetune.prepare import SeedJob
    from finetune.run_dir import RunDir
    from finetune.start import Start
    from finetune.training import TrainOutcome

Stage = Literal["recipe", "data", "model", "step"]
STAGES: tuple[Stage, ...] = ("recipe", "data", "model", "step")
# Weights, their gradient and AdamW's two moments, each a 32-bit float.
BYTES_A_PARAMETER = 16
# The first training pays for what a process sets up once, for each shape of a batch too; the others, of the same batches, are compared.
TRIED_STEPS = (8, 2, 8)


@dataclass(frozen=True)
class StageResult:
    """The outcome of one stage."""

    stage: Stage
    state: Literal["ok", "failed", "unavailable", "skipped"]
    message: str
    error: FinetuneError | None = None


def check_recipe_stages(
    name_or_path: str, overrides: Sequence[str], only: Stage | None = None
) -> Iterator[StageResult]:
    """Go through the stages, yielding each result as it is known; `only` ends after the stage of that name."""
    try:
        loaded = load_recipe(name_or_path, overrides)
    except FinetuneError as error:
        yield StageResult("recipe", "failed", str(error), error)
        return
    yield StageResult("recipe", "ok", f"{loaded.path}: task {loaded.recipe.task}, {len(loaded.recipe.seeds)} seed(s)")
    if only == "recipe":
        return
    checks = _Checks(loaded)
    for stage in STAGES[1:]:
        try:
            message = getattr(checks, stage)()
            yield StageResult(stage, "ok" if message else "skipped", message or "needs data and model")
        except UnavailableError as error:
            yield StageResult(stage, "unavailable", str(error), error)
        except SettingError as error:
            yield StageResult(stage, "failed", str(loaded.put_place(error)), error)
        except FinetuneError as error:
            yield StageResult(stage, "failed", str(error), error)
        if stage == only:
            return


def exit_code_of(results: Sequence[StageResult]) -> int:
    """Return 0, the code of the first failure, or 69 where things are only unavailable."""
    failed = [result for result in results if result.state == "failed"]
    if failed:
        assert failed[0].error is not None
        return failed[0].error.exit_code
    return UnavailableError.exit_code if any(result.state == "unavailable" for result in results) else 0


class _Checks:
    """The stages of one check, sharing what the earlier ones found."""

    def __init__(self, loaded: LoadedRecipe) -> None:
        self.loaded = loaded
        self.recipe = loaded.recipe
        self.found_data: TaskData | None = None
        self.parameters = 0

    def data(self) -> str:
        from finetune.data import load_data
        from finetune.task import get_task

        self.found_data = load_data(self.recipe, get_task(self.recipe.task))
        record = self.found_data.record
        return "\n".join([f"{record.source}; {record.selection}", *(f"  {line}" for line in describe_rows(record))])

    def model(self) -> str:
        from finetune.checkpoint import find_checkpoint
        from finetune.model import count_parameters
        from finetune.objective import build_objective
        from finetune.start import find_start
        from finetune.task import get_task

        if self.found_data is None:
            if self.recipe.model.init == "scratch":
                return ""
            # Which head it gets, and so its size, depends on the data.
            checkpoint = find_checkpoint(self.recipe.model)
            return f"{checkpoint.name}: SHA-256 {checkpoint.sha256[:12]}"
        task = get_task(self.recipe.task)
        start = find_start(self.recipe, task, self.found_data)
        objective = build_objective(self.recipe, task, self.found_data, start.tokenizer, start.config)
        self.parameters = count_parameters(start, objective, self.found_data.label_names)
        facts = [f"{self.parameters:,} parameters", *start.notes, *self._describe_origin(start)]
        return f"{start.name}: {', '.join(facts)}"

    def _describe_origin(self, start: "Start") -> list[str]:
        behind = [f"made by {', then '.join(ancestor.run for ancestor in start.lineage)}"] if start.lineage else []
        return [*behind, f"SHA-256 {start.sha256[:12]}"] if start.sha256 else behind

    def step(self) -> str:
        from finetune.prepare import prepare_job
        from finetune.processes import Processes
        from finetune.task import get_task

        if self.found_data is None or not self.parameters:
            return ""
        if self.recipe.train is None:
            return "the recipe doesn't train"
        job = prepare_job(self.loaded, get_task(self.recipe.task), self.found_data, Processes(0, 1))
        with tempfile.TemporaryDirectory() as folder:
            return self._train_a_little(job, Path(folder))

    def _train_a_little(self, job: "SeedJob", folder: Path) -> str:
        import torch

        from finetune.machine import choose_threads
        from finetune.memory import peak_memory_megabytes
        from finetune.model import load_model
        from finetune.run_dir import RunDir

        settings = job.recipe.train
        assert settings is not None and job.plan is not None
        torch.set_num_threads(choose_threads(settings.threads, 1))
        loaded = load_model(job.start, job.objective, job.data.label_names)
        outcomes = [self._train_for(steps, job, loaded, RunDir(folder)) for steps in TRIED_STEPS]
        few, many = outcomes[-2:]
        # What is set up once for each training falls out of the difference; noise may leave nothing of it.
        seconds_a_step = max(
            (many.seconds - few.seconds) / (TRIED_STEPS[-1] - TRIED_STEPS[-2]), many.seconds / TRIED_STEPS[-1] / 10
        )
        lengths = job.features["train"].lengths
        steps = settings.max_steps or job.plan.count_batches(lengths) * settings.epochs
        total = steps * len(job.recipe.seeds)
        gigabytes = max(peak_memory_megabytes() / 1024, self.parameters * BYTES_A_PARAMETER / 2**30)
        size = f"about {settings.batch_tokens} tokens" if settings.batch_tokens else f"{settings.batch_size} examples"
        return (
            f"a real step works (loss {many.final_loss:.3f}, {job.precision}); the run: {total:,} steps of {size}, "
            f"about {total * seconds_a_step / 60:.1f} minutes and {gigabytes:.1f} GB of memory here"
        )

    def _train_for(self, steps: int, job: "SeedJob", loaded: "LoadedModel", run_dir: "RunDir") -> "TrainOutcome":
        from finetune.objective import TrainedObjective
        from finetune.training import train_model

        assert job.recipe.train is not None and job.plan is not None and isinstance(job.objective, TrainedObjective)
        brief = job.recipe.train.model_copy(
            update={"max_steps": steps, "save_every": "never", "keep_best": False, "patience": None}
        )
        return train_model(
            loaded,
            job.features["train"],
            None,
            job.recipe.model_copy(update={"train": brief}),
            run_dir,
            plan=job.plan,
            seed=1,
            precision=job.precision,
            metric=job.task.primary_metric,
            objective=job.objective,
            title="",
        )
