"""Pushing a run: what leaves this machine, who is asked before anybody else may see it, and a token that nobody sees."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import ModelCard, constants

import finetune.cli_share  # noqa: F401 - its commands are asked for below
from finetune.model_card import render_model_card, write_model_card
from finetune.record_files import write_record
from finetune.records import Report
from finetune.render import list_pictures
from finetune.run_dir import RunDir, write_status
from tests.cli_calls import ROOT, Outcome, bytes_below, call
from tests.report_examples import collapsed, five_seeds, single_seed

TOKEN = "hf_CANARYdeadbeefcanary0123456789"
MODEL = {
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 40,
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\n",
}
REPORTS = {"report.json", "report.html", "report.md"}
LEFT_HERE = ("notes.txt", ".env", "optimizer.pt", "pytorch_model.bin", "training_args.bin", "model.safetensors.part")


@dataclass
class WritableHub:
    """A hub on this machine: repositories that are there, what it was asked and with which token, what was written.

    Attributes:
        private: {repository: whether it is private}.
        refusals: {the way and the start of a path: status and content of the answer}.
    """

    private: dict[str, bool] = field(default_factory=dict)
    refusals: dict[str, tuple[int, object]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    created: list[dict[str, object]] = field(default_factory=list)
    commits: list[dict[str, bytes]] = field(default_factory=list)

    def answer(self, way: str, path: str, token: str | None, body: bytes) -> tuple[int, object]:
        """Return status and content for a request."""
        self.asked.append(f"{way} {path}")
        self.tokens.add(token)
        for start, refusal in self.refusals.items():
            if f"{way} {path}".startswith(start):
                return refusal
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return 200, {"url": "http://127.0.0.1/some/where"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": [{"message": remark} for remark in self.remarks]}
        _, _, _, owner, name, *rest = path.split("/")
        if not rest:
            is_private = self.private.get(f"{owner}/{name}")
            found = {"id": f"{owner}/{name}", "private": is_private, "siblings": []}
            return (404, {}) if is_private is None else (200, found)
        if rest == ["preupload", "main"]:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        assert rest == ["commit", "main"], path
        lines = [json.loads(line) for line in body.decode().splitlines()]
        self.commits.append(
            {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
        )
        return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"http://127.0.0.1/{owner}/{name}/commit/0"}


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, hub: WritableHub) -> Iterator[str]:
    """Yield where the hub listens."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, found = hub.answer(self.command, urlsplit(self.path).path, token, body)
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            if status == 404 or b"Repository not found" in content:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - named by the library

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hub() -> WritableHub:
    """Return a hub without repositories."""
    return WritableHub()


@pytest.fixture(autouse=True)
def online(address: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Know a token, and no hub but the one on this machine."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(work / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def write_run(folder: Path, report: Report) -> Path:
    """Write a completed run whose model is no real one, with files beside it that are nobody's business."""
    run_dir = RunDir(folder)
    run_dir.model.mkdir(parents=True)
    for name, content in MODEL.items():
        (run_dir.model / name).write_bytes(content)
    for name in LEFT_HERE:
        (run_dir.model / name).write_text("mine")
    (run_dir.model / "cache").mkdir()
    (run_dir.model / "cache/config.json").write_text("mine")
    write_record(run_dir.report, report)
    run_dir.report_html.write_text(f"<p>{report.mistakes[0].text}</p>")
    run_dir.report_markdown.write_text(report.mistakes[0].text)
    for name in list_pictures(report):
        run_dir.picture(name).write_text("<svg/>")
    write_model_card(report, run_dir)
    write_status(run_dir, "complete", "report written", 0)
    return folder


@pytest.fixture
def run(work: Path) -> Path:
    """Return a run of one seed."""
    return write_run(work / "run", single_seed())


def push(monkeypatch: pytest.MonkeyPatch, *arguments: str, answer: str = "") -> Outcome:
    """Run `finetune push`, with what somebody types at its question."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    return call("push", *arguments)


def assert_refused(done: Outcome, code: int) -> str:
    """See that a command failed with one line; return it."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("finetune: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def written(hub: WritableHub) -> list[str]:
    return [asked for asked in hub.asked if asked.startswith("POST")]


# What is pushed


def test_a_run_goes_into_a_private_repository_in_one_commit(
    hub: WritableHub, run: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = push(monkeypatch, str(run), "me/my-model")
    assert done.returncode == 0, done.stderr
    (created,), (commit,) = hub.created, hub.commits
    assert (created["organization"], created["name"]) == ("me", "my-model")
    assert created.get("visibility") == "private" or created.get("private") is True
    pictures = {path.name for path in run.glob("*.svg")}
    assert "confusion.svg" in pictures
    assert set(commit) == {*MODEL, "README.md", *REPORTS, *pictures}
    assert {name: commit[name] for name in MODEL} == MODEL
    assert commit["report.json"] == RunDir(run).report.read_bytes()
    assert (
        f"pushed: {address}/me/my-model; {len(commit)} files, seen by you, or your organisation, alone" in done.stdout
    )
    assert hub.tokens == {TOKEN}


def test_nothing_else_that_lies_beside_the_model_leaves_this_machine(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir(run).decision.write_text("{}")
    (RunDir(run).model / "model-00001-of-00002.safetensors").write_bytes(b"shard")
    assert push(monkeypatch, str(run), "me/my-model", "--without-report").returncode == 0
    (commit,) = hub.commits
    assert set(commit) == {*MODEL, "README.md", "decision.json", "model-00001-of-00002.safetensors"}
    assert b"mine" not in b"".join(commit.values())


def test_the_card_names_the_repository_and_is_one_that_the_hub_can_read(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(monkeypatch, str(run), "me/my-model")
    card = hub.commits[0]["README.md"].decode()
    assert 'model="me/my-model"' in card
    assert ModelCard(card).data.eval_results
    assert RunDir(run).model_card.read_text() == render_model_card(single_seed()), "the one on disk stays as it is"


def test_a_card_that_somebody_edited_goes_as_it_is(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = RunDir(run).model_card.read_bytes().replace(b"---\n", b"---\nlicense: mit\n", 1)
    RunDir(run).model_card.write_bytes(mine)
    push(monkeypatch, str(run), "me/my-model")
    assert hub.commits[0]["README.md"] == mine


def test_a_run_from_before_there_were_cards_gets_one(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir(run).model_card.unlink()
    push(monkeypatch, str(run), "me/my-model")
    assert hub.commits[0]["README.md"] == render_model_card(single_seed(), "me/my-model").encode()


def test_what_the_hub_remarks_on_the_card_is_passed_on(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.remarks = ["no licence is stated"]
    done = push(monkeypatch, str(run), "me/my-model")
    assert "the hub remarks: - no licence is stated\n" in done.stdout and done.stderr == ""


def test_a_repository_that_is_there_and_private_is_written_to_without_a_question(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private["me/my-model"] = True
    assert push(monkeypatch, str(run), "me/my-model").returncode == 0
    assert hub.created == [] and len(hub.commits) == 1


# Who is asked


def test_a_public_repository_asks_first_and_says_what_everybody_will_see(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = push(monkeypatch, str(run), "me/my-model", "--public", answer="n\n")
    assert assert_refused(done, 130) == "finetune: nothing was pushed\n"
    assert "Everybody will see in me/my-model: config.json, model.safetensors" in done.stdout
    assert "no text of the data" in done.stdout
    assert "Licence of the data: text copyright stays with the cited authors; research use." in done.stdout
    assert written(hub) == []


def test_no_answer_is_no(hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(push(monkeypatch, str(run), "me/my-model", "--public"), 130)
    assert written(hub) == []


@pytest.mark.parametrize(("options", "answer"), [((), "y\n"), (("--yes",), "")])
def test_a_yes_makes_it_public_without_the_texts_of_the_reports(
    options: tuple[str, ...], answer: str, hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = push(monkeypatch, str(run), "me/my-model", "--public", *options, answer=answer)
    assert done.returncode == 0, done.stderr
    (created,) = hub.created
    assert created.get("visibility") == "public" or created.get("private") is False
    assert not REPORTS & set(hub.commits[0])
    assert not any(mistake.text.encode() in b"".join(hub.commits[0].values()) for mistake in single_seed().mistakes)
    assert "seen by everybody" in done.stdout


def test_reports_become_public_only_when_asked_for_and_the_question_says_so(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = push(monkeypatch, str(run), "me/my-model", "--public", "--with-report", answer="y\n")
    assert set(hub.commits[0]) >= REPORTS
    assert "the reports, which hold texts of test rows" in done.stdout


def test_a_repository_that_is_public_already_is_not_written_to_by_surprise(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private["me/my-model"] = False
    said = assert_refused(push(monkeypatch, str(run), "me/my-model", "--yes"), 73)
    assert "me/my-model: this repository is public, so everybody would see" in said and "--public" in said
    assert written(hub) == []
    assert push(monkeypatch, str(run), "me/my-model", "--public", "--yes").returncode == 0
    assert hub.created == [] and not REPORTS & set(hub.commits[0])


def test_a_repository_of_unknown_visibility_is_taken_for_public(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals["GET /api/models/me/my-model"] = (200, {"id": "me/my-model", "siblings": []})
    assert_refused(push(monkeypatch, str(run), "me/my-model"), 73)


def test_a_private_repository_stays_private_and_that_is_said(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private["me/my-model"] = True
    done = push(monkeypatch, str(run), "me/my-model", "--public", "--yes")
    assert (
        "was private before and stays so" in done.stdout and "seen by you, or your organisation, alone" in done.stdout
    )
    assert not REPORTS & set(hub.commits[0]), "whoever means it to be public will make it so"


def test_a_model_that_predicts_one_class_only_asks_even_where_it_is_private(
    hub: WritableHub, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(work / "collapsed", collapsed())
    done = push(monkeypatch, str(run), "me/my-model", "--public", answer="n\n")
    first = "The model predicts one class only: it gave every test row the label 'acceptable'."
    assert done.stdout.startswith(first)
    assert_refused(push(monkeypatch, str(run), "me/my-model", answer="n\n"), 130)
    assert written(hub) == []
    done = push(monkeypatch, str(run), "me/my-model", "--yes")
    assert done.stdout.startswith(first) and len(hub.commits) == 1


def test_the_collapse_of_a_seed_whose_weights_are_not_pushed_asks_nothing(
    hub: WritableHub, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = five_seeds()
    assert report.collapse and report.saved_seed == 3
    assert push(monkeypatch, str(write_run(work / "five", report)), "me/my-model").returncode == 0
    run = write_run(work / "fourth", report.model_copy(update={"saved_seed": 4}))
    assert_refused(push(monkeypatch, str(run), "me/my-model", answer="n\n"), 130)


# What goes wrong


def test_without_a_token_one_line_says_how_to_get_one(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in assert_refused(push(monkeypatch, str(run), "me/my-model"), 69)
    assert hub.asked == []


def test_offline_nothing_is_asked(hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in assert_refused(push(monkeypatch, str(run), "me/my-model"), 69)
    assert hub.asked == []


def test_what_is_no_completed_run_with_a_model_is_66(
    hub: WritableHub, run: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no such run folder" in assert_refused(push(monkeypatch, "nowhere", "me/my-model"), 66)
    write_status(RunDir(run), "failed", "the loss was not finite", 3)
    said = assert_refused(push(monkeypatch, str(run), "me/my-model"), 66)
    assert "the run is not complete but failed: the loss was not finite" in said
    write_status(RunDir(run), "complete", "report written", 0)
    (RunDir(run).model / "model.safetensors").unlink()
    assert "no weights" in assert_refused(push(monkeypatch, str(run), "me/my-model"), 66)
    RunDir(run).model.rename(work / "elsewhere")
    assert "no model/ in this run" in assert_refused(push(monkeypatch, str(run), "me/my-model"), 66)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["my-model", "a/b/c", "me/my model", "me/a--b", "me/x.git", "../x", "me/", "me/x\ny"])
def test_a_name_that_no_repository_can_have_is_wrong_use(
    name: str, hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "REPOSITORY: " in assert_refused(push(monkeypatch, str(run), name), 2)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("asked", "status", "code", "saying"),
    [
        ("GET /api/models", 401, 77, "the hub doesn't know the token; hf auth login"),
        ("GET /api/models", 403, 77, "the token may not do that (no such right)"),
        ("GET /api/models", 500, 69, "the hub answered 500, no file was pushed (no such right)"),
        ("POST /api/repos/create", 403, 77, "the token may not do that (no such right)"),
        ("POST /api/repos/create", 404, 69, "the hub answered 404"),
        ("POST /api/models/me/my-model/preupload", 403, 77, "the token may not do that (no such right)"),
        ("POST /api/models/me/my-model/commit", 409, 73, "it was changed on the hub meanwhile"),
        ("POST /api/models/me/my-model/commit", 413, 69, "the hub answered 413"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_with_its_own_exit_code(
    asked: str, status: int, code: int, saying: str, hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals[asked] = (status, {"error": "no such\nright"})
    said = assert_refused(push(monkeypatch, str(run), "me/my-model"), code)
    assert said.startswith("finetune: me/my-model: ") and saying in said
    assert hub.commits == []


def test_a_repository_that_the_owner_may_not_see_is_no_absent_one(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals["GET /api/models"] = (401, {"error": "Repository not found"})
    assert_refused(push(monkeypatch, str(run), "me/my-model"), 77)
    assert written(hub) == []


def test_a_card_that_the_hub_refuses_is_wrong_data(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals["POST /api/validate-yaml"] = (400, {"errors": [{"message": '"license" must be one of\n[mit, …]'}]})
    said = assert_refused(push(monkeypatch, str(run), "me/my-model"), 65)
    assert said == 'finetune: me/my-model: the hub refuses the card: - "license" must be one of [mit, …]\n'
    assert hub.commits == []


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "not an address"])
def test_an_unreachable_hub_is_given_up_soon(
    endpoint: str, hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    started = time.monotonic()
    assert "the hub can't be reached, no file was pushed" in assert_refused(
        push(monkeypatch, str(run), "me/my-model"), 69
    )
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("asked", ["GET /api/models", "POST /api/validate-yaml"])
def test_a_page_that_asks_for_a_login_is_no_hub(
    asked: str, hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals[asked] = (200, b"<html>log in</html>")
    said = assert_refused(push(monkeypatch, str(run), "me/my-model"), 69)
    assert "the hub can't be reached, no file was pushed" in said


# The token


def test_a_hub_that_repeats_the_token_does_not_make_it_seen(
    hub: WritableHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refusals["POST /api/repos/create"] = (403, {"error": f"{TOKEN} may not"})
    done = push(monkeypatch, str(run), "me/my-model")
    assert "the token may not do that (… may not)" in done.stderr and TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("is_refused", [False, True])
def test_the_token_is_in_no_output_and_in_no_file(
    is_refused: bool, hub: WritableHub, run: Path, work: Path, address: str
) -> None:
    if is_refused:
        hub.refusals["POST /api/models/me/my-model/commit"] = (403, {"error": "no right"})
    code = "import finetune.cli_share; from finetune.exits import main; main()"
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN,
        "HF_HOME": str(work / "home"), "HOME": str(work), "NO_PROXY": "127.0.0.1", "TMPDIR": str(work), "HF_DEBUG": "",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, "--debug", "push", str(run), "me/my-model", "--public", "--with-report", "--yes"],
        capture_output=True, text=True, env=environment, cwd=work, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == (77 if is_refused else 0), done.stderr
    assert ("Traceback" in done.stderr) == is_refused, "--debug shows where it failed"
    assert hub.tokens == {TOKEN}, "the hub was given the token, so it could have been seen"
    assert TOKEN not in done.stdout + done.stderr
    files = {name: content for name, content in bytes_below(work).items() if isinstance(content, bytes)}
    assert files and not [name for name, content in files.items() if TOKEN.encode() in content]
    assert not any(TOKEN.encode() in content for commit in hub.commits for content in commit.values())
