"""The model of a run: a checkpoint's weights, a head for the task, a tokenizer with a pad token.

Owns building models from checkpoints and writing them. Loads safetensors only, never runs code of a checkpoint, always in 32-bit
floats, and decides here alone what pads. Finding and verifying a checkpoint is `checkpoint`.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.checkpoint import Checkpoint
from finetune.errors import DataError, StorageError, first_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to train or to predict, and what is to be said of how it was loaded."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    notes: tuple[str, ...] = ()


def load_config(checkpoint: Checkpoint) -> "PretrainedConfig":
    """Return the configuration of a checkpoint.

    Raises:
        DataError: it is damaged, or of an architecture that needs code of its own.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    # Whatever a strange file trips over in the library, it is the file that is wrong.
    except Exception as error:
        raise DataError(f"{checkpoint.name}: config.json can't be used ({first_line(error)})") from None


def load_tokenizer(checkpoint: Checkpoint) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a checkpoint, with a pad token and right padding.

    Raises:
        DataError: none is there, or it is damaged.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=False, local_files_only=True
        )
    # The library's Rust part raises Exception itself.
    except Exception as error:
        raise DataError(f"{checkpoint.name}: no usable tokenizer in the checkpoint ({first_line(error)})") from None
    if tokenizer.pad_token is None:
        # GPT-2 has no pad token; the mask keeps the model from reading it, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise DataError(f"{checkpoint.name}: the tokenizer has neither a pad, an end nor an unknown token")
    tokenizer.padding_side = "right"
    return tokenizer


def load_classifier(checkpoint: Checkpoint, label_names: Sequence[str], *, may_draw_head: bool = True) -> LoadedModel:
    """Return the checkpoint with a classification head for `label_names`, in 32-bit floats.

    A head that the checkpoint has for these labels is kept, one for others is drawn anew. Weights are drawn from torch's generator:
    seed it first.

    Raises:
        DataError: the weights don't fit the architecture, the tokenizer not the weights, or the labels not the head.
    """
    from transformers import AutoModelForSequenceClassification

    config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
    has_same_labels = _compare_labels(checkpoint, label_names_of(config), label_names, may_differ=may_draw_head)
    if len(tokenizer) > config.vocab_size:
        raise DataError(
            f"{checkpoint.name}: the tokenizer knows {len(tokenizer)} tokens, the model {config.vocab_size}; "
            "they belong to different checkpoints"
        )
    config.num_labels = len(label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: number for number, name in enumerate(label_names)}
    # Left to itself the model guesses this from the first batch's labels.
    config.problem_type = "single_label_classification"
    config.pad_token_id = tokenizer.pad_token_id
    model, info = _load_pretrained(AutoModelForSequenceClassification, checkpoint, config)
    fresh = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    body = [key for key in fresh if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if body:
        raise DataError(
            f"{checkpoint.name}: {len(body)} weights of the architecture are missing, {body[0]} first; "
            f"is this a {config.model_type} checkpoint?"
        )
    if not may_draw_head and fresh:
        raise DataError(f"{checkpoint.name}: a fitted head is expected, missing are {', '.join(fresh)}")
    notes = [f"new weights, drawn from the seed: {', '.join(fresh)}" if fresh else "the head of the checkpoint is kept"]
    if not fresh and not has_same_labels:
        notes = ["the checkpoint's head was fitted to other labels; a new one is drawn from the seed"]
        drawn = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
        drawn.base_model.load_state_dict(model.base_model.state_dict())
        model = drawn
    if info["unexpected_keys"]:
        notes.append(
            f"weights of the checkpoint that this task doesn't use: {', '.join(sorted(info['unexpected_keys']))}"
        )
    return LoadedModel(model, tokenizer, tuple(notes))


def _compare_labels(checkpoint: Checkpoint, own: Sequence[str], wanted: Sequence[str], *, may_differ: bool) -> bool:
    """Say whether a checkpoint's head, if it has one, speaks of the wanted labels; labels without names may be any."""
    if list(own) == list(wanted) or all(name == f"LABEL_{number}" for number, name in enumerate(own)):
        return True
    if set(own) == set(wanted):
        raise DataError(
            f"{checkpoint.name}: its labels are {', '.join(own)} in this order, here they are {', '.join(wanted)}; "
            f"state data.labels: [{', '.join(own)}]"
        )
    if not may_differ:
        raise DataError(
            f"{checkpoint.name}: it tells {', '.join(own)} apart, the rows are labelled {', '.join(wanted)}"
        )
    return False


def place_on_device(model: "PreTrainedModel") -> None:
    """Move a model to the accelerator, where there is one."""
    import torch

    if torch.accelerator.is_available():
        model.to(torch.accelerator.current_accelerator())


def _load_pretrained(kind: Any, checkpoint: Checkpoint, config: "PretrainedConfig") -> "tuple[PreTrainedModel, dict]":
    import torch
    from transformers.utils import logging

    # The load report is a table on every start; what matters of it goes into our notes.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(
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


def label_names_of(config: "PretrainedConfig") -> list[str]:
    """Return the label names of a classifier, in the order of their ids."""
    names: Any = config.id2label or {}
    return [names[number] for number in sorted(names)]


def count_parameters(checkpoint: Checkpoint, labels: int) -> int:
    """Return the number of parameters of the classifier, without loading a weight."""
    import torch
    from transformers import AutoModelForSequenceClassification

    config = load_config(checkpoint)
    config.num_labels = labels
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except ValueError:
        raise DataError(
            f"{checkpoint.name}: architecture {config.model_type} has no classification head in transformers"
        ) from None
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
