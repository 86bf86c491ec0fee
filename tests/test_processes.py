"""Several processes: the same losses, gradients and predictions as one, and one voice for errors."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import build_tiny_checkpoint, write_rows

pytestmark = pytest.mark.processes

RECIPE = """task: text-classification
model: {{checkpoint: {checkpoint}}}
data: {{path: rows.csv, columns: {{text: text, label: label}}}}
train: {{epochs: 2, batch_size: 8, learning_rate: 0.05, precision: fp32, threads: 1, class_weights: [0.8, 1.7], extra: {{optim: sgd}}}}
evaluate: {{bootstrap: 100}}
"""


@pytest.fixture
def cuts(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working directory with a recipe whose model has no dropout, on 57 rows: 51 of them train, which no cut divides."""
    write_rows(work / "rows.csv", 57)
    checkpoint = build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)
    (work / "r.yaml").write_text(RECIPE.format(checkpoint=checkpoint))
    return work


def read_events(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def test_losses_gradients_and_predictions_do_not_depend_on_how_a_batch_is_cut(cuts: Path, finetune: Callable) -> None:
    runs = {
        "1x8": [],
        "1x2x4": ["train.micro_batch_size=2"],
        "2x4": ["--processes", "2"],
        "2x2x2": ["train.micro_batch_size=2", "--processes", "2"],
    }
    for name, arguments in runs.items():
        done = finetune("run", "r.yaml", *arguments, "--out", name)
        assert done.returncode == 0, done.stderr
    whole = read_events(cuts / "1x8")
    assert len(whole) >= 12
    for name in list(runs)[1:]:
        cut = read_events(cuts / name)
        for key in ("loss", "gradient_norm"):
            np.testing.assert_allclose(
                [event[key] for event in cut], [event[key] for event in whole], rtol=1e-5, err_msg=f"{name} {key}"
            )
        expected = [json.loads(line) for line in (cuts / "1x8" / "predictions.jsonl").read_text().splitlines()]
        found = [json.loads(line) for line in (cuts / name / "predictions.jsonl").read_text().splitlines()]
        assert [row["row"] for row in found] == [row["row"] for row in expected]
        np.testing.assert_allclose(
            [row["probabilities"] for row in found], [row["probabilities"] for row in expected], atol=1e-5
        )


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
