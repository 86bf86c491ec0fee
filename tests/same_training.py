"""A recipe whose result may not depend on how it is computed, and what two runs of it have to share.

SGD, so that a wrong scale of the gradient can't hide behind Adam; no dropout, whose draws differ from process to process.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.tiny import write_rows

RECIPE = """task: text-classification
model: {{checkpoint: {checkpoint}}}
data: {{path: rows.csv, columns: {{text: text, label: label}}}}
train:
  {{epochs: 2, batch_size: 8, learning_rate: 0.05, precision: fp32, threads: 1, class_weights: [0.8, 1.7], label_smoothing: 0.1,
    extra: {{optim: sgd}}}}
evaluate: {{bootstrap: 100}}
"""


def write_exact_recipe(folder: Path, checkpoint: Path) -> Path:
    """Write r.yaml and its 57 rows into a folder; 51 rows train, 7 steps an epoch, and neither divides by 2."""
    write_rows(folder / "rows.csv", 57)
    (folder / "r.yaml").write_text(RECIPE.format(checkpoint=checkpoint), encoding="utf-8")
    return folder


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_events(run: Path) -> list[dict]:
    """Return the events of a training as the process knows them; only the first writes any."""
    return read_lines(run / "events.jsonl") if (run / "events.jsonl").exists() else []


def assert_same_training(found: Path, expected: Path) -> None:
    """Compare two runs; rounding alone may differ, since sums are added up in another order."""
    for key in ("loss", "gradient_norm"):
        one, two = (
            [event[key] for event in read_lines(run / "events.jsonl") if key in event] for run in (expected, found)
        )
        assert len(one) > 1
        np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=f"{found.name} {key}")
    one, two = (load_file(run / "model" / "model.safetensors") for run in (expected, found))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, rtol=1e-5, atol=1e-7, err_msg=f"{found.name} {name}")
    one, two = (read_lines(run / "predictions.jsonl") for run in (expected, found))
    assert [row["row"] for row in two] == [row["row"] for row in one]
    np.testing.assert_allclose(
        [row["probabilities"] for row in two], [row["probabilities"] for row in one], atol=1e-5, err_msg=found.name
    )
