"""The hub: the cache before the network, one line for whatever goes wrong, and no waiting for a hub that isn't there."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from finetune.checkpoint import HUB_PATTERNS, OUTLINE_PATTERNS, TOKENIZER_PATTERNS, find_checkpoint
from finetune.errors import OutputError, UnavailableError
from finetune.hub import fetch_hub_files
from finetune.recipe_sections import ModelSettings
from tests.conftest import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_cache(cache: Path, repository: str, files: Mapping[str, bytes], kind: str = "model") -> Path:
    """Write files into a hub cache as Hugging Face lays it out, and return the snapshot's folder."""
    root = cache / f"{kind}s--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    (root / "blobs").mkdir()
    for name, content in files.items():
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = root / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return root / "snapshots" / COMMIT


@dataclass
class FakeHub:
    """A hub on this machine: its files by `api kind/owner/name`, the status it refuses with, and what it was asked."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content for a path."""
        self.asked.append(path)
        for repository, status in self.refusals.items():
            if f"/{repository}" in path:
                return status, {}, b"{}"
        for repository, files in self.files.items():
            kind, _, name = repository.partition("/")
            if path in (
                f"/api/{repository}",
                f"/api/{repository}/revision/main",
                f"/api/{repository}/revision/{COMMIT}",
            ):
                return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode()
            if path == f"/api/{repository}/tree/{COMMIT}":
                return 200, {}, json.dumps([self._entry(*item) for item in files.items()]).encode()
            start = f"/{'' if kind == 'models' else kind + '/'}{name}/resolve/{COMMIT}/"
            if path.startswith(start) and path.removeprefix(start) in files:
                content = files[path.removeprefix(start)]
                return 200, {"ETag": f'"{self._digest(content)}"', "X-Repo-Commit": COMMIT}, content
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _entry(self, path: str, content: bytes) -> dict[str, object]:
        return {"type": "file", "path": path, "size": len(content), "oid": self._digest(content)}

    def _digest(self, content: bytes) -> str:
        return hashlib.sha1(content).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Yield a hub that answers on this machine, beside an empty cache."""
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = fake.answer(urlsplit(self.path).path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - named by the library

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tiny_files(tiny_bert: Path) -> dict[str, bytes]:
    """Return the files of a tiny checkpoint by name."""
    return {path.name: path.read_bytes() for path in tiny_bert.iterdir()}


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_cache_that_cannot_be_written_is_named_and_not_taken_for_a_hub_out_of_reach(
    hub: FakeHub, cache: Path, tiny_files: dict[str, bytes], kind: Literal["model", "dataset"]
) -> None:
    cache.write_text("a file in the place of the folder")
    hub.files[f"{kind}s/someone/tiny"] = tiny_files
    with pytest.raises(
        OutputError, match=r"cache can't be written \(.*\); HF_HOME names another folder for it"
    ) as refused:
        fetch_hub_files("someone/tiny", None, HUB_PATTERNS, kind=kind)
    assert refused.value.exit_code == 73


@pytest.mark.parametrize("revision", [COMMIT, "main", None])
def test_a_cached_checkpoint_is_found_without_asking_the_hub(
    hub: FakeHub, cache: Path, tiny_files: dict[str, bytes], revision: str | None
) -> None:
    folder = write_cache(cache, "someone/tiny", tiny_files)
    found = find_checkpoint(ModelSettings(checkpoint="someone/tiny", revision=revision))
    assert found.folder == folder.resolve()
    assert found.sha256 == hashlib.sha256(tiny_files["model.safetensors"]).hexdigest()
    assert found.name == ("someone/tiny" if revision is None else f"someone/tiny@{revision}")
    assert hub.asked == []


def test_a_cached_checkpoint_is_found_offline(cache: Path, tiny_files: dict[str, bytes]) -> None:
    folder = write_cache(cache, "someone/tiny", tiny_files)
    assert fetch_hub_files("someone/tiny", COMMIT, HUB_PATTERNS) == folder.resolve()


@pytest.mark.parametrize(
    ("patterns", "unneeded"),
    [(OUTLINE_PATTERNS, ("model.safetensors",)), (TOKENIZER_PATTERNS, ("model.safetensors", "config.json"))],
)
def test_a_model_from_scratch_needs_no_weights_of_the_hub(
    cache: Path, tiny_files: dict[str, bytes], patterns: tuple[str, ...], unneeded: tuple[str, ...]
) -> None:
    files = {name: content for name, content in tiny_files.items() if name not in unneeded}
    folder = write_cache(cache, "someone/tiny", files)
    assert fetch_hub_files("someone/tiny", COMMIT, patterns) == folder.resolve()


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_cached_in_part_is_not_taken_for_whole(
    cache: Path, tiny_files: dict[str, bytes], lost: str
) -> None:
    write_cache(cache, "someone/tiny", {name: content for name, content in tiny_files.items() if name != lost})
    with pytest.raises(UnavailableError, match=r"^model someone/tiny at 01234567: it is not, or not whole, .*OFFLINE"):
        fetch_hub_files("someone/tiny", COMMIT, HUB_PATTERNS)


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00001.safetensors"])
def test_a_broken_link_in_the_cache_is_no_file(cache: Path, tiny_files: dict[str, bytes], weights: str) -> None:
    tiny_files[weights] = tiny_files.pop("model.safetensors")
    folder = write_cache(cache, "someone/tiny", tiny_files)
    (folder / weights).resolve().unlink()
    with pytest.raises(UnavailableError):
        fetch_hub_files("someone/tiny", COMMIT, HUB_PATTERNS)


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_the_hub_fills_the_cache_and_is_not_asked_again(
    hub: FakeHub, tiny_files: dict[str, bytes], revision: str | None
) -> None:
    hub.files["models/someone/tiny"] = {**tiny_files, "pytorch_model.bin": b"a pickle", "README.md": b"words"}
    folder = fetch_hub_files("someone/tiny", revision, HUB_PATTERNS)
    assert (folder / "config.json").read_bytes() == tiny_files["config.json"]
    assert not (folder / "pytorch_model.bin").exists(), "a file that was not asked for was fetched"
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    hub.asked.clear()
    assert fetch_hub_files("someone/tiny", revision, HUB_PATTERNS) == folder
    assert hub.asked == []


def test_what_a_cached_checkpoint_lacks_is_fetched(hub: FakeHub, cache: Path, tiny_files: dict[str, bytes]) -> None:
    write_cache(cache, "someone/tiny", {"config.json": tiny_files["config.json"]})
    hub.files["models/someone/tiny"] = tiny_files
    folder = fetch_hub_files("someone/tiny", COMMIT, HUB_PATTERNS)
    assert (folder / "model.safetensors").read_bytes() == tiny_files["model.safetensors"]


def test_files_of_a_data_set_come_from_its_own_folders(hub: FakeHub) -> None:
    hub.files["datasets/someone/rows"] = {"a/train.parquet": b"train", "b/train.parquet": b"other"}
    folder = fetch_hub_files("someone/rows", COMMIT, ["a/train.parquet"], kind="dataset")
    assert (folder / "a/train.parquet").read_bytes() == b"train"
    assert not (folder / "b").exists()


def test_a_data_set_that_lacks_a_file_names_it(hub: FakeHub) -> None:
    hub.files["datasets/someone/rows"] = {"a/train.parquet": b"train"}
    with pytest.raises(UnavailableError, match=r"repository lacks a/test\.parquet\.$"):
        fetch_hub_files("someone/rows", COMMIT, ["a/train.parquet", "a/test.parquet"], kind="dataset")


def test_a_data_set_cached_in_part_is_not_taken_for_whole(cache: Path) -> None:
    write_cache(cache, "someone/rows", {"a/train.parquet": b"train"}, kind="dataset")
    with pytest.raises(UnavailableError, match=r"^dataset someone/rows at 01234567: it is not, or not whole, "):
        fetch_hub_files("someone/rows", COMMIT, ["a/train.parquet", "a/test.parquet"], kind="dataset")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "it needs a token (set HF_TOKEN)"),
        (403, "accept its terms there"),
        (404, "no such repository or revision"),
        (500, "the hub answered 500"),
        (503, "the hub answered 503"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_that_says_why(hub: FakeHub, status: int, words: str) -> None:
    hub.refusals["models/someone/tiny"] = status
    with pytest.raises(UnavailableError) as caught:
        fetch_hub_files("someone/tiny", None, HUB_PATTERNS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 69
    assert len(hub.asked) == 1, "a refusal was asked for again"


@pytest.mark.parametrize("name", ["no spaces/here", "a/b--c", "double//slash"])
def test_a_name_that_no_repository_can_have_is_unavailable(hub: FakeHub, name: str) -> None:
    with pytest.raises(UnavailableError):
        fetch_hub_files(name, None, HUB_PATTERNS)
    assert hub.asked == []


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://hub.invalid", "not an address"])
def test_an_unreachable_hub_is_given_up_quickly_and_quietly(work: Path, endpoint: str) -> None:
    program = (
        "from finetune.errors import OutputError, UnavailableError\n"
        "from finetune.hub import fetch_hub_files\n"
        "try:\n    fetch_hub_files('someone/tiny', None, ['config.json'])\n"
        "except UnavailableError as error:\n    print(error)\n"
    )
    hub = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(work),
        "NO_PROXY": "*",
        "PYTHONPATH": str(ROOT),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **hub},
        check=False,
        timeout=60,
    )
    assert time.monotonic() - started < 30
    assert done.stderr == ""
    assert done.stdout.startswith(
        "model someone/tiny: it is not, or not whole, in the hub's cache, and the hub can't be"
    )
    assert done.stdout.count("\n") == 1


def test_a_task_without_data_in_reach_ends_soon_with_three_ways_out(
    finetune: Callable[..., subprocess.CompletedProcess[str]], work: Path
) -> None:
    started = time.monotonic()
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(work), "NO_PROXY": "*"}
    done = finetune("run", "cola", env=hub)
    assert time.monotonic() - started < 30
    assert done.returncode == 69, done.stderr
    assert done.stderr.startswith("finetune: The data of task cola can't be had: dataset nyu-mll/glue at bcdcba79: ")
    assert all(f"{number}. " in done.stderr for number in (1, 2, 3))
    assert "FINETUNE_DATA" in done.stderr and "data.path" in done.stderr
    assert done.stderr.count("\n") == 1, "more than one paragraph"
