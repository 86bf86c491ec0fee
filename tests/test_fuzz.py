"""Whatever stands in a file or on the command line, a reader takes it or refuses it in one of our errors.

`make fuzz` looks for longer, steered by coverage.
"""

import json
import tempfile
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.errors import FinetuneError
from tests.fuzz_targets import TOKENS, Target, build_targets

NAMES = tuple(build_targets())
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 2**70, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\0", "\ud800", "../x"),
    *("9" * 5000, "a" * 3000, "\x1b[2J\u202e", [], {}, [[]], [None], ["x", "x"], {"x": None}, {"": {"": []}}),
)


def replace_value(document: Any, number: int, value: Any, drops: bool) -> Any:
    """Return a JSON document in which the value of that number, counted through all levels, is another, or is missing."""
    places = []

    def walk(holder: Any) -> None:
        for key in holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ():
            places.append((holder, key))
            walk(holder[key])

    walk(document)
    if not places:
        return deepcopy(value)
    holder, key = places[number % len(places)]
    if drops:
        del holder[key]
    else:
        # Not the value itself, which the next change would change.
        holder[key] = deepcopy(value)
    return document


@st.composite
def other_values(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw a seed whose JSON says something else in up to three places."""
    lines = [json.loads(line) for line in draw(st.sampled_from(seeds)).decode().splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = replace_value(
            lines[at], draw(st.integers(0, 3000)), draw(st.sampled_from(ODD)), draw(st.booleans())
        )
    return b"\n".join(json.dumps(line).encode() for line in lines)


@st.composite
def other_bytes(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw a seed into which up to four pieces are set, in the place of some bytes or of all that follow."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=4))
        gone = draw(st.sampled_from((0, 0, 1, 2, 5, len(content))))
        content = content[:at] + piece + content[at + gone :]
    return content


def is_json(content: bytes) -> bool:
    """Say whether every line is JSON."""
    try:
        return all(isinstance(json.loads(line), dict | list) for line in content.decode().splitlines())
    except ValueError:
        return False


def contents(target: Target) -> st.SearchStrategy[bytes]:
    """Draw bytes for a target: any at all, valid ones with changes, and valid JSON with other values."""
    documents = tuple(seed for seed in target.seeds if is_json(seed))
    kinds = [st.binary(max_size=200), other_bytes(target.seeds), *([other_values(documents)] * 2 if documents else [])]
    return st.one_of(kinds)


def read(target: Target, content: bytes) -> None:
    """Let a target read bytes in a folder of its own; what it raises but our errors is a fault."""
    with tempfile.TemporaryDirectory() as folder, suppress(FinetuneError):
        target.read(content, Path(folder))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_reader_begins_from_is_read_without_an_error(name: str, tmp_path: Path) -> None:
    assert build_targets()[name].seeds
    for number, seed in enumerate(build_targets()[name].seeds):
        (tmp_path / str(number)).mkdir()
        build_targets()[name].read(seed, tmp_path / str(number))


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_reader_takes_any_bytes_or_refuses_them_in_our_words(name: str, data: st.DataObject) -> None:
    read(build_targets()[name], data.draw(contents(build_targets()[name])))
