"""The state of a training as tensors and plain JSON, and back: weights, optimizer, schedule, random generators.

Owns what has to be kept so that a training goes on bit by bit as if it had not been interrupted. Nothing here can run code when it is
read. Folders and files are `checkpoint_files`, when to save is the Trainer's.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.errors import DataError, UnavailableError, first_line

WEIGHTS, MOMENTS, STATE = "model.safetensors", "optimizer.safetensors", "training.json"
# What the recipe says of a group of weights; the rest is the optimizer's own.
_OF_THE_RECIPE = frozenset({"lr", "initial_lr", "weight_decay"})
# In the state of a Mersenne twister, MT19937.
_WORDS = 624


def write_state(
    folder: Path, model: nn.Module, optimizer: Any | None, schedule: Any, scaler: Any, processes: list[dict[str, Any]]
) -> None:
    """Write the state of a training into a folder.

    Args:
        scaler: that of 16-bit floats, or None.
        optimizer: None where training is over, since its moments, two thirds of a checkpoint, are of no more use.
        processes: of each process, in the order of ranks, what it alone knows (`capture_generators`), as plain JSON.

    Raises:
        UnavailableError: the optimizer keeps something that is neither tensor nor number.
    """
    moments, plain = ({}, None) if optimizer is None else _split_optimizer(optimizer.state_dict())
    state = {
        "optimizer": plain,
        "schedule": {"last_epoch": schedule.last_epoch, "_step_count": schedule._step_count},
        "scaler": None if scaler is None else scaler.state_dict(),
        "processes": processes,
    }
    try:
        text = json.dumps(state)
    except TypeError as error:
        raise UnavailableError(
            f"train.extra.optim: the state of this optimizer can't be kept for --resume ({first_line(error)}); "
            "train.save_every: never does without"
        ) from None
    save_file(weights_of(model), folder / WEIGHTS)
    if optimizer is not None:
        save_file(moments, folder / MOMENTS)
    (folder / STATE).write_text(text, encoding="utf-8")


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes of a model: weights with a gradient, tied ones once, and buffers."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: tensor.detach().contiguous() for name, tensor in [*weights.items(), *model.named_buffers()]}


def restore_weights(folder: Path, model: nn.Module) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        DataError: they are those of another model.
    """
    own = dict([*model.named_parameters(), *model.named_buffers()])
    kept = _read_tensors(folder / WEIGHTS)
    expected = {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()}
    found = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    if found != expected:
        odd = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
        raise DataError(f"{folder}: the weights are those of another model ({odd[0]} differs)")
    with torch.no_grad():
        for name, tensor in kept.items():
            own[name].copy_(tensor)


def restore_optimizer(folder: Path, optimizer: Any, schedule: Any) -> None:
    """Give an optimizer and its schedule the state of a checkpoint, if it has one; rates and decay stay the recipe's.

    Raises:
        DataError: it is the state of another optimizer.
    """
    state = read_state(folder)
    if state["optimizer"] is None:
        return
    try:
        own = optimizer.state_dict()["param_groups"]
        groups = [
            {**group, **{name: value for name, value in kept.items() if name not in _OF_THE_RECIPE}}
            for group, kept in zip(own, state["optimizer"]["groups"], strict=True)
        ]
        moments = _join_state(_read_tensors(folder / MOMENTS), state["optimizer"]["numbers"])
        _refuse_other_shapes(moments, groups, optimizer)
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        schedule.load_state_dict({**state["schedule"], "lr_lambdas": [None] * len(own)})
        rates = [
            rate * factor(schedule.last_epoch)
            for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise DataError(f"{folder}: the state of another optimizer ({first_line(error)})") from None


def _refuse_other_shapes(
    moments: Mapping[int, Mapping[str, Any]], groups: list[dict[str, Any]], optimizer: Any
) -> None:
    """Stop before a fused step, which torch 2.13 takes without comparing shapes, writing beyond the end of the shorter one.

    Raises:
        ValueError: a moment doesn't have the shape of its weight.
    """
    weights = [
        (weight, kept.get("fused"))
        for own, kept in zip(optimizer.param_groups, groups, strict=True)
        for weight in own["params"]
    ]
    for number, entries in moments.items():
        weight, is_fused = weights[number]
        for name, value in entries.items():
            if is_fused and name != "step" and isinstance(value, Tensor) and value.shape != weight.shape:
                raise ValueError(
                    f"{name} of weight {number} has the shape {tuple(value.shape)}, not {tuple(weight.shape)}"
                )


def read_state(folder: Path) -> dict[str, Any]:
    """Return the part of the state that is plain JSON.

    Raises:
        DataError: it isn't.
    """
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.keys() != {"optimizer", "schedule", "scaler", "processes"}:
            raise ValueError("not the state of a training")
        if not isinstance(state["processes"], list) or not all(isinstance(one, dict) for one in state["processes"]):
            raise ValueError("what its processes knew is no list")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / STATE}: can't be read ({first_line(error)})") from None
    return state


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: can't be read ({first_line(error)})") from None


def _split_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of an optimizer by `<number of the weight>.<name>`, and the rest of its state."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for weight, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{weight}.{name}"] = value.contiguous()
            else:
                numbers[f"{weight}.{name}"] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def _join_state(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **numbers}.items():
        weight, _, name = key.partition(".")
        state.setdefault(int(weight), {})[name] = value
    return state


def capture_generators() -> dict[str, Any]:
    """Return the state of this process's random generators: Python, NumPy, torch, and torch on its GPU, as plain JSON."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    return {
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": _to_hex(torch.get_rng_state()),
        "cuda": _to_hex(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
    }


def restore_generators(state: Mapping[str, Any]) -> None:
    """Put this process's random generators where `capture_generators` found them.

    Raises:
        DataError: it isn't the state of generators.
    """
    try:
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        numpy = state["numpy"]
        key, position = np.array(numpy["state"]["key"], np.uint32), numpy["state"]["pos"]
        # numpy 2.4 takes any position, and then reads what lies beside its words.
        if key.shape != (_WORDS,) or not 0 <= position <= _WORDS:
            raise ValueError("NumPy's has another size")
        np.random.set_state({**numpy, "state": {"key": key, "pos": position}})
        torch.set_rng_state(_from_hex(state["torch"]))
        if state["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(_from_hex(state["cuda"]))
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise DataError(f"the random generators can't be set as they were ({first_line(error)})") from None


def _to_hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
