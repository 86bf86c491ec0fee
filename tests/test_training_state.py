"""The state of a training as tensors and plain JSON: what is read back is what was written."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from finetune.errors import DataError, UnavailableError
from finetune.training_state import (
    capture_generators,
    read_state,
    restore_generators,
    restore_optimizer,
    restore_weights,
    weights_of,
    write_state,
)


class Tied(nn.Module):
    """Two weights that are one, one that isn't trained, and a buffer."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.fixed = nn.Linear(width, 4), nn.Linear(width, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.fixed.requires_grad_(False)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(values))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LambdaLR) -> None:
    model(torch.randn(5, 4)).square().mean().backward()
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()


def falling(optimizer: torch.optim.Optimizer) -> LambdaLR:
    return LambdaLR(optimizer, lambda number: 1 / (number + 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda weights, rate: torch.optim.AdamW(weights, rate, fused=True),
        lambda weights, rate: torch.optim.SGD(weights, rate),
        lambda weights, rate: torch.optim.SGD(weights, rate, momentum=0.9),
        lambda weights, rate: torch.optim.Adagrad(weights, rate),
    ],
    ids=["adamw", "sgd", "momentum", "adagrad"],
)
def test_training_goes_on_bit_by_bit(tmp_path: Path, make) -> None:  # noqa: ANN001
    torch.manual_seed(1)
    model = Tied()
    optimizer = make(model.parameters(), 0.1)
    schedule = falling(optimizer)
    for _ in range(3):
        step(model, optimizer, schedule)
    model.seen += 7
    write_state(tmp_path, model, optimizer, schedule, None, [{"generators": capture_generators()}])
    step(model, optimizer, schedule)
    torch.manual_seed(99)
    again = Tied()
    again.fixed.load_state_dict(model.fixed.state_dict())
    second = make(again.parameters(), 0.1)
    second_schedule = falling(second)
    restore_weights(tmp_path, again)
    restore_optimizer(tmp_path, second, second_schedule)
    restore_generators(read_state(tmp_path)["processes"][0]["generators"])
    step(again, second, second_schedule)
    assert again.first.weight is again.second.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert second.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_tied_weights_are_kept_once_and_fixed_ones_not_at_all() -> None:
    assert list(weights_of(Tied())) == ["first.weight", "first.bias", "second.bias", "seen"]


def test_a_rate_that_was_allowed_to_change_takes_effect(tmp_path: Path) -> None:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    schedule = falling(optimizer)
    step(model, optimizer, schedule)
    write_state(tmp_path, model, optimizer, schedule, None, [])
    lower = torch.optim.AdamW(model.parameters(), 0.01)
    restore_optimizer(tmp_path, lower, falling(lower))
    assert lower.param_groups[0]["lr"] == 0.01 / 4


def test_the_state_of_another_model_or_optimizer_is_refused(tmp_path: Path) -> None:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    step(model, optimizer, falling(optimizer))
    write_state(tmp_path, model, optimizer, falling(optimizer), None, [])
    with pytest.raises(DataError, match=r"another model \(first.weight differs\)"):
        restore_weights(tmp_path, Tied(5))
    few = torch.optim.AdamW([model.first.weight], 0.1)
    with pytest.raises(DataError, match="another optimizer"):
        restore_optimizer(tmp_path, few, falling(few))
    whole = '{"optimizer": 1, "schedule": 2, "scaler": 3, "processes": %s}'
    for text in ("", "[]", "{}", whole.replace("}", ', "more": 5}') % "[]", whole % "4", whole % "[4]", "[" * 9999):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(DataError, match="can't be read"):
            read_state(tmp_path)


@pytest.mark.parametrize("shape", [(1,), (4, 4, 4), (2, 4)])
def test_a_moment_of_another_shape_never_reaches_a_fused_step_which_would_write_beyond_it(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, fused=True)
    step(model, optimizer, falling(optimizer))
    write_state(tmp_path, model, optimizer, falling(optimizer), None, [])
    moments = load_file(tmp_path / "optimizer.safetensors")
    save_file(moments | {"0.exp_avg": torch.zeros(shape)}, tmp_path / "optimizer.safetensors")
    fresh = torch.optim.AdamW(model.parameters(), 0.1, fused=True)
    with pytest.raises(DataError, match=r"exp_avg of weight 0 has the shape"):
        restore_optimizer(tmp_path, fresh, falling(fresh))


def test_an_optimizer_that_keeps_what_is_no_number_is_refused_in_words(tmp_path: Path) -> None:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    optimizer.param_groups[0]["hook"] = print
    with pytest.raises(UnavailableError, match=r"train\.extra\.optim"):
        write_state(tmp_path, model, optimizer, falling(optimizer), None, [])


def test_every_generator_goes_on_from_where_it_was() -> None:
    random.gauss(0, 1), np.random.standard_normal()
    state = json.loads(json.dumps(capture_generators()))

    def draw() -> tuple:
        return (
            random.gauss(0, 1),
            random.random(),
            np.random.standard_normal(),
            np.random.rand(),
            torch.rand(3).tolist(),
        )

    first = draw()
    assert draw() != first
    restore_generators(state)
    assert draw() == first


@pytest.mark.parametrize("position", [-5, 625, 100_000, None])
def test_a_place_beyond_the_words_of_numpy_s_generator_is_refused(position: object) -> None:
    state = json.loads(json.dumps(capture_generators()))
    state["numpy"]["state"]["pos"] = position
    with pytest.raises(DataError, match="random generators"):
        restore_generators(state)


@pytest.mark.parametrize("state", [{}, {"python": 1}, {"python": [3, [1], None]}, {"python": [3, ["x"] * 625, None]}])
def test_what_is_no_state_of_generators_is_refused(state: dict) -> None:
    with pytest.raises(DataError, match="random generators"):
        restore_generators(state)
