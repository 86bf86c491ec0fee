"""Several seeds at a time: the same results as one after the other, errors that come back, workers that never stay behind."""

import multiprocessing
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finetune.data import load_data
from finetune.errors import DataError, FinetuneError, RecipeError, ResourceError, SettingError, as_finetune_error
from finetune.prepare import SeedJob, prepare_job
from finetune.processes import Processes
from finetune.recipe_file import load_recipe
from finetune.run_dir import RunDir
from finetune.seed_jobs import fit_seeds
from finetune.task import get_task
from tests.cli_calls import write_recipe

pytestmark = pytest.mark.processes


def all_errors() -> list[type[FinetuneError]]:
    def below(kind: type[FinetuneError]) -> list[type[FinetuneError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    return below(FinetuneError)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_is_itself_again_in_another_process(kind: type[FinetuneError]) -> None:
    made = {RecipeError: lambda: RecipeError(["a: b", "c: d"]), SettingError: lambda: SettingError("train.epochs", "0")}
    error = made.get(kind, lambda: kind("what went wrong"))()
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind
    assert (str(found), vars(found), found.exit_code) == (str(error), vars(error), kind.exit_code)
    assert str(found)


@pytest.fixture
def prepare(work: Path, tiny_bert: Path) -> Callable[..., SeedJob]:
    """Return a function that gives the job of a small recipe with overrides."""
    write_recipe(work / "r.yaml", tiny_bert)

    def call(*overrides: str) -> SeedJob:
        loaded = load_recipe("r.yaml", ["train.threads=1", *overrides])
        task = get_task(loaded.recipe.task)
        return prepare_job(loaded, task, load_data(loaded.recipe, task), Processes(0, 1))

    return call


def seed_folders(name: str) -> Callable[[int], RunDir]:
    return lambda seed: RunDir(Path(name)).seed(seed)


def test_two_seeds_at_a_time_give_what_one_after_the_other_gives(prepare: Callable[..., SeedJob]) -> None:
    job, said = prepare(), []
    alone = fit_seeds(job, [3, 1, 2], seed_folders("alone"), resume=False, jobs=1, tell=said.append)
    assert said == [], "seeds one after the other have a progress bar"
    together = fit_seeds(job, [3, 1, 2], seed_folders("together"), resume=False, jobs=2, tell=said.append)
    assert [result.seed for result in together] == [3, 1, 2]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.answers.probabilities, one.answers.probabilities)
        assert other.scores == one.scores
        assert other.measurement.final_loss == one.measurement.final_loss
        assert [point.loss for point in other.history] == [point.loss for point in one.history]
    for seed in (1, 2, 3):
        first, second = (seed_folders(name)(seed) for name in ("alone", "together"))
        assert second.predictions.read_bytes() == first.predictions.read_bytes()
        assert (second.model / "model.safetensors").read_bytes() == (first.model / "model.safetensors").read_bytes()
    assert len({tuple(result.answers.probabilities[:, 0]) for result in together}) == 3
    assert sorted(line.partition(":")[0] for line in said) == ["seed 1", "seed 2", "seed 3"]
    assert all(re.fullmatch(r"seed \d: Macro F1 \d\.\d{3}, \d+\.\d s", line) for line in said), said
    assert not multiprocessing.active_children()


def test_more_jobs_than_seeds_are_as_many_as_there_are_seeds(prepare: Callable[..., SeedJob]) -> None:
    said: list[str] = []
    found = fit_seeds(prepare("train.max_steps=1"), [1], seed_folders("run"), resume=False, jobs=8, tell=said.append)
    assert len(found) == 1 and said == [], "a single seed needs no worker"


def damage(run_dir: RunDir) -> None:
    """Leave a seed that says it is finished, in a file that is no record."""
    run_dir.path.mkdir(parents=True)
    run_dir.predictions.write_text("")
    run_dir.measurement.write_text("[]")


def test_a_failure_keeps_further_seeds_from_beginning_and_those_in_progress_are_finished(
    prepare: Callable[..., SeedJob],
) -> None:
    folder_of, said = seed_folders("run"), []
    damage(folder_of(1))
    with pytest.raises(DataError, match=r"training\.json: not a measurement"):
        fit_seeds(prepare(), [1, 2, 3, 4], folder_of, resume=True, jobs=2, tell=said.append)
    assert folder_of(2).measurement.exists()
    assert not folder_of(3).path.exists() and not folder_of(4).path.exists()
    assert said[0].startswith("seed 1: failed (") and "seed 2 will be finished first" in said[0]
    assert said[1].startswith("seed 2: Macro F1") and len(said) == 2
    before = folder_of(2).measurement.stat().st_mtime_ns
    folder_of(1).measurement.unlink()
    assert len(fit_seeds(prepare(), [1, 2, 3], folder_of, resume=True, jobs=1)) == 3
    assert folder_of(2).measurement.stat().st_mtime_ns == before, "what was finished is not done again"


def test_an_error_that_is_not_ours_comes_back_as_it_is(prepare: Callable[..., SeedJob]) -> None:
    Path("file").write_text("no folder")
    with pytest.raises(NotADirectoryError) as caught:
        fit_seeds(prepare(), [1, 2], lambda seed: RunDir(Path(f"file/{seed}")), resume=False, jobs=8)
    assert "fit_seed" in caught.value.__notes__[0], "the traceback of the worker comes with it"


def test_a_worker_that_is_killed_is_71(prepare: Callable[..., SeedJob]) -> None:
    folder_of = seed_folders("run")

    def kill_one() -> None:
        while not folder_of(1).events.exists():
            time.sleep(0.01)
        victim = multiprocessing.active_children()[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(ResourceError, match="ended by signal 9; signal 9 mostly means that memory ran out") as caught:
        fit_seeds(prepare("train.max_steps=5000"), [1, 2], folder_of, resume=False, jobs=2)
    killer.join()
    assert as_finetune_error(caught.value).exit_code == 71 and "\n" not in str(caught.value)
    assert not multiprocessing.active_children()
