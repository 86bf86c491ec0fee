"""`finetune reproduce`: a recipe's own seeds, held against its bands, and the exit code that says how they stand."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli_calls import ROOT, bytes_below, call, write_recipe

WIDE = "{low: 0.0, high: 1.0, source: a guess}"
LOW = "{low: -1.0, high: -0.9, source: 'Table 3 of a paper'}"
HIGH = "{low: 1.5, high: 2.0, source: a dream}"


@pytest.fixture
def recipe(work: Path, tiny_bert: Path) -> Path:
    """Return a recipe of two seeds and four steps that expects nothing yet."""
    path = write_recipe(work / "r.yaml", tiny_bert)
    path.write_text(path.read_text() + "seeds: [4, 2]\n")
    return path


def expect(recipe: Path, **bands: str) -> None:
    """Write bands into the recipe."""
    stated = ", ".join(f"{name}: {band}" for name, band in bands.items())
    recipe.write_text(f"{recipe.read_text()}expect: {{{stated}}}\n")


def test_a_recipe_within_its_bands_exits_0_with_a_verdict_on_each(recipe: Path) -> None:
    expect(recipe, accuracy=WIDE, macro_f1=WIDE)
    done = call("reproduce", "r.yaml", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for title in ("Accuracy", "Macro F1"):
        said = f"within the expected band ({title} on all rows, 0.000 to 1.000; source: a guess): measured 0."
        assert said in done.stdout
    assert "over 2 seeds" in done.stdout
    assert sorted(path.name for path in Path("run").glob("seed-*")) == ["seed-2", "seed-4"], "the recipe's own seeds"
    before = bytes_below(Path("run"))
    again = call("reproduce", "r.yaml", "--out", "run", "--resume")
    assert again.returncode == 0 and "within the expected band" in again.stdout
    assert bytes_below(Path("run")) == before, "what has been run is only judged again"


@pytest.mark.parametrize(("band", "verdict"), [(LOW, "above"), (HIGH, "below")])
def test_a_score_outside_its_band_is_4_in_one_line(recipe: Path, band: str, verdict: str) -> None:
    # The slice has no rows: what is not comparable does not hide what is outside.
    expect(recipe, accuracy=band, macro_f1=WIDE.replace("low", "slice: nowhere, low"))
    done = call("reproduce", "r.yaml", "--out", "run")
    assert done.returncode == 4
    assert done.stderr.startswith(f"finetune: {verdict} the expected band (Accuracy on all rows, ")
    assert "source: " in done.stderr and ": measured 0." in done.stderr and done.stderr.count("\n") == 1
    assert "not comparable with the expected band (Macro F1 on nowhere" in done.stdout
    assert (Path("run") / "report.json").exists(), "the run itself is whole"


def test_a_band_of_other_rows_is_65_in_one_line(recipe: Path) -> None:
    expect(recipe, accuracy="{low: 0.0, high: 1.0, rows: 1043, source: a paper}", macro_f1=WIDE)
    done = call("reproduce", "r.yaml", "--out", "run")
    assert done.returncode == 65
    assert "not comparable with the expected band (Accuracy on all rows" in done.stderr
    assert "the band speaks of 1,043 rows, these are 6" in done.stderr and done.stderr.count("\n") == 1
    assert "within the expected band (Macro F1" in done.stdout


def test_a_recipe_that_expects_nothing_is_78_before_anything_runs(recipe: Path) -> None:
    before = bytes_below(recipe.parent)
    code = (
        "import sys; from finetune.exits import main\nsys.argv = ['finetune', 'reproduce', 'r.yaml']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78 and done.stdout == "[]\n"
    assert "r.yaml: expect: missing, so there is nothing to reproduce" in done.stderr and done.stderr.count("\n") == 1
    assert bytes_below(recipe.parent) == before


def test_wrong_options_are_2(recipe: Path) -> None:
    expect(recipe, accuracy=WIDE)
    for options in (["--jobs", "0"], ["--jobs", "65"], ["--resume=perhaps"], ["seeds=1"]):
        began = time.monotonic()
        done = call("reproduce", "r.yaml", *options)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, (options, done.stderr)
        assert time.monotonic() - began < 5
    assert not Path("runs").exists()
