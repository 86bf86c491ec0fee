"""A training that goes on from a checkpoint: bit by bit the one that was never interrupted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.batching import plan_batch
from finetune.checkpoint import Checkpoint
from finetune.checkpoint_files import find_checkpoint
from finetune.errors import RecipeError
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.training import TrainOutcome, train_model
from tests.test_trainer import classification, encode
from tests.tiny import build_tiny_checkpoint, load_classifier

LABELS = ("acceptable", "unacceptable")


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(build_tiny_checkpoint("bert", tmp_path_factory.mktemp("tiny"), layers=1), "tiny", "0" * 64)


def train(
    checkpoint: Checkpoint, folder: Path, resume_from: Path | None = None, **settings: Any
) -> tuple[dict[str, torch.Tensor], list[dict], TrainOutcome]:
    """Return weights, events without their times, and outcome of a training on 44 rows with dev; 6 steps an epoch."""
    recipe = Recipe.model_validate(
        {
            "task": "cola",
            "model": {"checkpoint": "./tiny"},
            "train": {"batch_size": 8, "learning_rate": 3e-3, "precision": "fp32", "keep_checkpoints": 50, **settings},
        }
    )
    assert recipe.train is not None
    torch.manual_seed(3)
    loaded = load_classifier(checkpoint, LABELS)
    outcome = train_model(
        loaded,
        encode(checkpoint, 44),
        encode(checkpoint, 24, seed=9),
        recipe,
        RunDir(folder),
        plan=plan_batch(8, recipe.train.micro_batch_size, 1),
        seed=3,
        precision="fp32",
        metric="matthews_correlation",
        objective=classification(checkpoint, None, recipe),
        title="",
        resume_from=resume_from,
    )
    events = [json.loads(line) for line in RunDir(folder).events.read_text().splitlines()]
    events = [{name: value for name, value in event.items() if name != "seconds"} for event in events]
    return loaded.model.state_dict(), events, replace(outcome, seconds=0.0)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        # Within an epoch and at its end, before dev is scored there; the last step is in the midst of an epoch.
        ({"max_steps": 15, "save_every": 3, "micro_batch_size": 2}, [3, 6, 9, 12, 15]),
        (
            {"max_steps": 15, "save_every": 4, "batching": "padded", "extra": {"dataloader_num_workers": 0}},
            [4, 8, 12, 15],
        ),
        ({"epochs": 3, "keep_best": True, "schedule": "cosine", "batching": "grouped"}, [6, 12, 18]),
        # Patience ends it, and its count has to survive; the best weights are those of an earlier checkpoint.
        ({"epochs": 9, "patience": 2, "evaluate_every": 2, "learning_rate": 1e-6, "batching": "padded"}, [2, 4, 6]),
        ({"max_steps": 8, "save_every": 3, "extra": {"optim": "sgd"}}, [3, 6, 8]),
    ],
)
def test_a_training_resumed_at_any_checkpoint_ends_with_the_same_bits(
    with_dropout: Checkpoint, tmp_path: Path, settings: dict, steps: list[int]
) -> None:
    weights, events, outcome = train(with_dropout, tmp_path / "whole", **settings)
    whole = RunDir(tmp_path / "whole")
    assert sorted(int(path.name.partition("-")[2]) for path in whole.checkpoints.iterdir()) == steps
    for step in steps:
        moved = RunDir(tmp_path / f"from-{step}")
        shutil.copytree(whole.path, moved.path)
        for later in (later for later in steps if later > step):
            shutil.rmtree(moved.checkpoints / f"checkpoint-{later}")
        resume_from, passed_over = find_checkpoint(moved.checkpoints)
        assert resume_from == moved.checkpoints / f"checkpoint-{step}" and passed_over == []
        again, events_again, outcome_again = train(with_dropout, moved.path, resume_from, **settings)
        assert events_again == events, step
        assert outcome_again == outcome
        assert again.keys() == weights.keys() and all(torch.equal(again[name], weights[name]) for name in weights), step


def test_steps_are_not_added_to_a_training_whose_optimizer_is_gone(with_dropout: Checkpoint, tmp_path: Path) -> None:
    settings = {"max_steps": 4, "save_every": 2, "batching": "padded"}
    train(with_dropout, tmp_path, **settings)
    with pytest.raises(RecipeError, match=r"checkpoint-4: training was over here .* remove this checkpoint to go on"):
        train(with_dropout, tmp_path, tmp_path / "checkpoints/checkpoint-4", **{**settings, "max_steps": 6})
    _, events, _ = train(with_dropout, tmp_path, tmp_path / "checkpoints/checkpoint-2", **{**settings, "max_steps": 6})
    assert [event["step"] for event in events if "loss" in event][-1] == 6
