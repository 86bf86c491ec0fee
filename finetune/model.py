"""The model of a run: a body and the head that an objective asks, with the tokenizer that goes with them.

Owns building models from what a run starts from, and writing them. Loads safetensors only, never runs code of a checkpoint, and always
in 32-bit floats. What a run starts from is `start`.
"""

import copy
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.checkpoint import Checkpoint
from finetune.errors import DataError, SettingError, StorageError, first_line
from finetune.objective import Objective, StartsHead
from finetune.start import Start, load_config, load_tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

CLASSIFIER = "AutoModelForSequenceClassification"
# What each class of transformers adds to a body, and which task makes it.
_HEADS = {
    CLASSIFIER: ("classification head", "text-classification"),
    "AutoModelForNextSentencePrediction": ("next-sentence head", "nsp"),
    "AutoModelForMaskedLM": ("masked-language-model head", "masked-lm"),
    "AutoModelForCausalLM": ("causal-language-model head", "causal-lm"),
    "AutoModelForPreTraining": ("pair of pretraining heads", "wikitext2-pretraining"),
}


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to train or to predict, and what is to be said of how it was loaded."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    notes: tuple[str, ...] = ()


def load_model(
    start: Start, objective: Objective, label_names: Sequence[str], *, may_draw_head: bool = True
) -> LoadedModel:
    """Return the model that an objective asks, with an output for each of `label_names`, in 32-bit floats.

    A head that the checkpoint has for these labels is kept, one for others is drawn anew, and so is one that is missing. Weights are
    drawn from torch's generator: seed it first. Where its architecture is known the model takes packed batches.

    Raises:
        DataError: the weights don't fit the architecture, or the labels not the head.
        SettingError: the architecture has no such head.
    """
    config = _describe_head(start, objective, label_names)
    if start.checkpoint is None:
        model = _draw(start, objective.model_class, config)
        _start_head(model, objective)
        return LoadedModel(model, start.tokenizer, (*start.notes, "all weights are drawn from the seed"))
    is_fitted = _is_fitted_to(start, objective, label_names, may_differ=may_draw_head)
    model, fresh, unused = _load_weights(start.checkpoint, objective.model_class, config)
    if not may_draw_head and fresh:
        raise _no_head(start.name, objective.model_class, fresh)
    head = f"new weights, drawn from the seed: {', '.join(fresh)}" if fresh else "the head of the checkpoint is kept"
    if not fresh and not is_fitted:
        head = "the checkpoint's head was fitted to other labels; a new one is drawn from the seed"
        drawn = _draw(start, objective.model_class, config)
        drawn.base_model.load_state_dict(model.base_model.state_dict())
        model = drawn
    if fresh or not is_fitted:
        _start_head(model, objective)
    notes = [*start.notes, head]
    if unused:
        notes.append(f"weights of the checkpoint that this task doesn't use: {', '.join(unused)}")
    return LoadedModel(model, start.tokenizer, tuple(notes))


def load_fitted(checkpoint: Checkpoint, model_class: str) -> LoadedModel:
    """Return the model that a run made, all of whose weights have to be there.

    Raises:
        DataError: they are not, or don't fit the architecture.
        SettingError: the architecture has no such head.
    """
    model, fresh, _ = _load_weights(checkpoint, model_class, load_config(checkpoint))
    if fresh:
        raise _no_head(checkpoint.name, model_class, fresh)
    return LoadedModel(model, load_tokenizer(checkpoint))


def _start_head(model: "PreTrainedModel", objective: Objective) -> None:
    if isinstance(objective, StartsHead):
        objective.start_head(model)


def _describe_head(start: Start, objective: Objective, label_names: Sequence[str]) -> "PretrainedConfig":
    config: Any = copy.deepcopy(start.config)
    # Left to itself a classifier guesses this from the first batch's labels.
    config.problem_type = objective.problem_type
    if objective.problem_type == "regression":
        config.num_labels = 1
    elif label_names:
        config.num_labels = len(label_names)
        config.id2label = dict(enumerate(label_names))
        config.label2id = {name: number for number, name in enumerate(label_names)}
    return config


def _is_fitted_to(start: Start, objective: Objective, label_names: Sequence[str], *, may_differ: bool) -> bool:
    """Say whether a checkpoint's head, if it has one, answers the objective's question about the same labels.

    Raises:
        DataError: it answers another one, and none may be drawn; or it has the labels in another order.
    """
    if objective.model_class != CLASSIFIER:
        return True
    # A checkpoint of others doesn't say which problem its head was fitted to.
    if start.config.problem_type not in (None, objective.problem_type):
        if not may_differ:
            raise DataError(f"{start.name}: its head was fitted to another problem, {start.config.problem_type}")
        return False
    return not label_names or _compare_labels(start.name, start.config, label_names, may_differ=may_differ)


def _compare_labels(name: str, config: "PretrainedConfig", wanted: Sequence[str], *, may_differ: bool) -> bool:
    """Say whether a head speaks of the wanted labels; labels without names may be any."""
    own = label_names_of(config)
    if own == list(wanted) or all(label == f"LABEL_{number}" for number, label in enumerate(own)):
        return True
    if set(own) == set(wanted):
        raise DataError(
            f"{name}: its labels are {', '.join(own)} in this order, here they are {', '.join(wanted)}; "
            f"state data.labels: [{', '.join(own)}]"
        )
    if not may_differ:
        raise DataError(f"{name}: it tells {', '.join(own)} apart, the rows are labelled {', '.join(wanted)}")
    return False


def _no_head(name: str, model_class: str, fresh: Sequence[str]) -> DataError:
    head, task = _HEADS[model_class]
    return DataError(f"{name}: it has no {head}, missing are {', '.join(fresh)}; fine-tune one first (task {task})")


def place_on_device(model: "PreTrainedModel") -> None:
    """Move a model to the accelerator, where there is one."""
    import torch

    if torch.accelerator.is_available():
        model.to(torch.accelerator.current_accelerator())


def _load_weights(
    checkpoint: Checkpoint, model_class: str, config: "PretrainedConfig"
) -> "tuple[PreTrainedModel, list[str], list[str]]":
    """Return a checkpoint's model, the names of its weights that were drawn, and those of the checkpoint that it doesn't use.

    Raises:
        DataError: the weights can't be read, or some of the body are missing.
        SettingError: the architecture has no such head.
    """
    import torch

    from finetune.pooling import prepare_packing

    try:
        model, info = _find_class(checkpoint.name, model_class, config).from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{checkpoint.name}: the weights can't be loaded ({first_line(error)})") from None
    fresh = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    body = [key for key in fresh if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if body:
        raise DataError(
            f"{checkpoint.name}: {len(body)} weights of the architecture are missing, {body[0]} first; "
            f"is this a {config.model_type} checkpoint?"
        )
    prepare_packing(model)
    return model, fresh, sorted(info["unexpected_keys"])


def _draw(start: Start, model_class: str, config: "PretrainedConfig") -> "PreTrainedModel":
    """Return a model with all weights drawn from torch's generator.

    Raises:
        SettingError: the architecture has no such head, or can't be of the recipe's shape.
        DataError: it can't be of the shape that the checkpoint states.
    """
    import torch

    from finetune.pooling import prepare_packing

    try:
        model = _find_class(start.name, model_class, config).from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
    # What a strange shape trips over in the library.
    except (ValueError, KeyError, TypeError, RuntimeError, ZeroDivisionError) as error:
        fault = f"{start.name}: no model can be of this shape ({first_line(error)})"
        raise (DataError(fault) if start.checkpoint else SettingError("model.shape", fault)) from None
    prepare_packing(model)
    return model


def _find_class(name: str, model_class: str, config: "PretrainedConfig") -> Any:
    """Return a class of transformers by its name.

    Raises:
        SettingError: it knows no model of this architecture.
    """
    import transformers
    from transformers.utils import logging

    # The load report is a table on every start, and what matters of it goes into our notes; of packed rows GPT-2 would say that it
    # misses the mask which they must not have.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    kind: Any = getattr(transformers, model_class)
    if type(config) not in kind._model_mapping:
        raise SettingError(
            "model.checkpoint",
            f"{name}: architecture {config.model_type} has no {_HEADS[model_class][0]} in transformers",
        )
    return kind


def label_names_of(config: "PretrainedConfig") -> list[str]:
    """Return the label names of a classifier, in the order of their ids."""
    names: Any = config.id2label or {}
    return [names[number] for number in sorted(names)]


def count_parameters(start: Start, objective: Objective, label_names: Sequence[str]) -> int:
    """Return the number of parameters of the model that an objective asks, without loading or drawing a weight.

    Weights that are tied count once.

    Raises:
        SettingError, DataError: the architecture has no such head, or can't be of this shape.
    """
    import torch

    with torch.device("meta"):
        model = _draw(start, objective.model_class, _describe_head(start, objective, label_names))
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(loaded: LoadedModel, folder: Path) -> None:
    """Write model, tokenizer and label names into a folder, whole or not at all.

    Raises:
        StorageError: the disk is full or failed.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        # The Trainer turns the decoder's cache off for training; who generates from the model later wants it.
        loaded.model.config.use_cache = True
        loaded.model.save_pretrained(beside)
        loaded.tokenizer.save_pretrained(beside)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free // 2**20
        raise StorageError(f"{folder}: the model can't be written ({first_line(error)}; {free} MB free)") from None
