"""Several processes: the same losses, gradients and predictions as one, and one voice for errors."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.objectives_in_processes import train_each
from tests.same_training import assert_same_training, read_events, read_lines, write_exact_recipe
from tests.tiny import build_tiny_checkpoint

ROOT = Path(__file__).parent.parent
ACCELERATE = Path(sys.executable).with_name("accelerate")
pytestmark = pytest.mark.processes


@pytest.fixture
def cuts(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working directory with a recipe whose model has no dropout, on 57 rows: 51 of them train, which no cut divides."""
    return write_exact_recipe(work, build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0))


def test_losses_gradients_weights_and_predictions_do_not_depend_on_how_a_batch_is_cut(
    cuts: Path, finetune: Callable
) -> None:
    runs = {
        "1x8": [],
        "2x4": ["--processes", "2"],
        "2x2x2": ["train.micro_batch_size=2", "--processes", "2"],
    }
    for name, arguments in runs.items():
        done = finetune("run", "r.yaml", *arguments, "--out", name)
        assert done.returncode == 0, done.stderr
    assert len(read_lines(cuts / "1x8" / "events.jsonl")) >= 12
    for name in list(runs)[1:]:
        assert_same_training(cuts / name, cuts / "1x8")
    if ACCELERATE.exists():
        run_by_accelerate(cuts, "cpu-2.yaml", "accelerate 2x4")
        assert_same_training(cuts / "accelerate 2x4", cuts / "1x8")


def test_every_other_objective_trains_in_two_processes_as_in_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkpoint = build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m"]
    done = subprocess.run(
        [*launcher, "tests.objectives_in_processes", str(checkpoint), str(tmp_path / "two")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one = train_each(checkpoint, tmp_path / "one")
    assert set(one) == {"regression", "multilabel", "next_sentence", "pretraining"}
    for kind, events in one.items():
        two = read_events(tmp_path / "two" / kind)
        assert len(two) == len(events) > 3, kind
        for value in ("loss", "gradient_norm"):
            found, expected = ([event[value] for event in found] for found in (two, events))
            np.testing.assert_allclose(found, expected, rtol=2e-5, err_msg=f"{kind} {value}")


def run_by_accelerate(cwd: Path, preset: str, out: str) -> None:
    command = [
        str(ACCELERATE),
        "launch",
        "--config_file",
        str(ROOT / "recipes" / "accelerate" / preset),
        "-m",
        "finetune",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "run", "r.yaml", "--out", out], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| processes | 2 |" in (cwd / out / "report.md").read_text(encoding="utf-8")


def test_more_processes_than_rows_train_as_one_and_the_report_says_who_had_none(cuts: Path, finetune: Callable) -> None:
    few = [
        "data.max_train_rows=2",
        "data.max_test_rows=2",
        "data.split_seed=3",
        "train.class_weights=null",
        "train.batch_size=3",
    ]
    for processes in ("1", "3"):
        done = finetune("run", "r.yaml", *few, "--out", processes, "--processes", processes)
        assert done.returncode == 0, done.stderr
    assert_same_training(cuts / "3", cuts / "1")
    said = "3 processes shared 2 train rows: 1 of them had nothing to learn from"
    assert said in (cuts / "3" / "report.md").read_text(encoding="utf-8")


def test_evaluation_with_two_processes_gives_the_same_predictions_from_the_same_weights(
    cuts: Path, finetune: Callable
) -> None:
    assert finetune("run", "r.yaml", "--out", "fitted").returncode == 0
    for processes in ("1", "2"):
        done = finetune(
            "run",
            "r.yaml",
            "train=null",
            "model.checkpoint=./fitted",
            "data.path={test: rows.csv}",
            "evaluate.batch_size=7",
            "--out",
            f"measured-{processes}",
            "--processes",
            processes,
        )
        assert done.returncode == 0, done.stderr
    one, two = ((cuts / f"measured-{processes}" / "predictions.jsonl").read_text() for processes in "12")
    assert one == two
    assert one.count("\n") == 57
