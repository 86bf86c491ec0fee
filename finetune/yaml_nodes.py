"""Strict YAML: one document of plain mappings, lists and scalars, every value with the line it stands on.

Owns the reading of text into values and places. Refuses what a recipe never needs and an attacker might: tags, anchors,
aliases, several documents, deep nesting, large files. Knows no recipe keys; imports no torch.

Scalars follow the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema) narrowed to what cannot surprise: `no`
is text, `2e-5` a number, and `010`, `1_000`, `1:30` and `.nan` stay text, so that the schema can refuse them as written.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from finetune.errors import MissingInputError, PermissionDeniedError, RecipeError, first_line

MAXIMUM_BYTES = 64 * 1024
MAXIMUM_DEPTH = 20
LONGEST_INTEGER = 20
KeyPath = tuple[str, ...]

_OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass
class PlacedValues:
    """Values of a document, the line of each key path, and the problems met on the way."""

    values: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_yaml_text(path: Path) -> str:
    """Return the text of a recipe file.

    Raises:
        MissingInputError: absent, or a folder.
        PermissionDeniedError, RecipeError: unreadable; not a regular file, too large, not UTF-8.
    """
    try:
        if not path.exists():
            raise MissingInputError(f"{path}: no such recipe file")
        if path.is_dir():
            raise MissingInputError(f"{path}: a folder, not a recipe file")
        if not path.is_file():
            raise RecipeError([f"{path}: not a regular file"])
        with path.open("rb") as stream:
            raw = stream.read(MAXIMUM_BYTES + 1)
    except PermissionError:
        raise PermissionDeniedError(f"{path}: no permission to read this file") from None
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > MAXIMUM_BYTES:
        raise RecipeError([f"{path}: larger than {MAXIMUM_BYTES // 1024} KB, which no recipe is"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError([f"{path}:{line}: byte {raw[error.start]:#04x} is not UTF-8 text"]) from None


def parse_yaml(text: str, source: str) -> PlacedValues:
    """Return the values of a YAML text; `source` opens each message.

    Raises:
        RecipeError: the text is no YAML, or uses a part of it that recipes don't have.
    """
    try:
        _refuse_indirections(text, source)
        nodes = list(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise RecipeError([f"{source}:{line}: not valid YAML: {error.problem or error.context}"]) from None
    except (YAMLError, ValueError) as error:
        raise RecipeError([f"{source}: not valid YAML: {first_line(error)}"]) from None
    except RecursionError:
        raise RecipeError([f"{source}: nested more than {MAXIMUM_DEPTH} levels deep"]) from None
    if len(nodes) > 1:
        raise RecipeError([f"{source}:{nodes[1].start_mark.line + 1}: one document expected, a second begins here"])
    placed = PlacedValues(None)
    if nodes and nodes[0] is not None:
        placed.values = _build_value(nodes[0], (), placed, source)
    return placed


def _refuse_indirections(text: str, source: str) -> None:
    """Refuse aliases, anchors, tags and deep nesting before anything is composed, which takes long where brackets open and open."""
    depth = 0
    for token in YAML(typ="safe", pure=True).scan(text):
        line = token.start_mark.line + 1
        if isinstance(token, AliasToken | AnchorToken | TagToken):
            kind = {"AliasToken": "aliases", "AnchorToken": "anchors", "TagToken": "tags"}[type(token).__name__]
            raise RecipeError([f"{source}:{line}: {kind} are not allowed in recipes"])
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAXIMUM_DEPTH:
            raise RecipeError([f"{source}:{line}: nested more than {MAXIMUM_DEPTH} levels deep"])


def _build_value(node: Node, path: KeyPath, placed: PlacedValues, source: str) -> Any:
    line = node.start_mark.line + 1
    if len(path) > MAXIMUM_DEPTH:
        raise RecipeError([f"{source}:{line}: nested more than {MAXIMUM_DEPTH} levels deep"])
    placed.lines.setdefault(path, line)
    if isinstance(node, MappingNode):
        return _build_mapping(node, path, placed, source)
    if isinstance(node, SequenceNode):
        return [_build_value(item, (*path, str(index)), placed, source) for index, item in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    return node.value if node.style else _build_plain_scalar(node.value)


def _build_mapping(node: MappingNode, path: KeyPath, placed: PlacedValues, source: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            placed.problems.append(f"{source}:{line}: a key must be text")
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in mapping:
            placed.problems.append(
                f"{source}:{line}: {'.'.join(here)}: stands twice, first in line {placed.lines[here]}"
            )
            continue
        placed.lines[here] = line
        mapping[key] = _build_value(value_node, here, placed, source)
    return mapping


def _build_plain_scalar(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    # A longer one is no setting, and Python refuses to read it.
    if _INTEGER.fullmatch(text) and len(text) <= LONGEST_INTEGER:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
