"""Look for bytes that a reader neither takes nor refuses in our words, steered by coverage: `make fuzz`.

Runs the targets of `fuzz_targets` under atheris (libFuzzer), each in a process of its own, which a fault ends. What was found stays in the
folder that the last line names, one file of bytes a fault.

    python -m tests.fuzz --seconds 60 recipe csv        # all targets where none is named
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["finetune", "ruamel"]):
    from finetune.errors import FinetuneError
    from tests.fuzz_targets import TOKENS, build_targets

SECONDS_AN_INPUT = 10
MEGABYTES = 4096


def main() -> int:
    """Fuzz each target; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(build_targets()))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    asked = parser.parse_args()
    found = Path(tempfile.mkdtemp(prefix="finetune-fuzz-"))
    failed = []
    for name in asked.targets or build_targets():
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, str(asked.seconds), str(found)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
        print(f"{name}: {runs[0] if runs else 'FAILED'}, {seconds:.0f} CPU seconds", flush=True)
        if done.returncode:
            failed.append(name)
            print((done.stdout + done.stderr)[-3000:], flush=True)
    print(f"{len(failed)} of {len(asked.targets or build_targets())} targets failed; what was found lies in {found}")
    return len(failed)


def fuzz_one(name: str, seconds: str, found: str) -> None:
    """Fuzz one target; never returns."""
    target = build_targets()[name]
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
    words = corpus.with_suffix(".words")
    # libFuzzer takes words of up to 64 bytes.
    escaped = ["".join(f"\\x{byte:02x}" for byte in token) for token in TOKENS if len(token) <= 64]
    words.write_text("".join(f'"{word}"\n' for word in escaped))

    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder, suppress(FinetuneError):
            target.read(content, Path(folder))

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-dict={words}",
        f"-artifact_prefix={found}/{name.replace(' ', '-')}-",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        fuzz_one(*sys.argv[2:])
    else:
        sys.exit(main())
