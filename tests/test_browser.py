"""Reports and comparisons in a real browser, wide and narrow, light and dark: what a reader with a keyboard or screen reader meets.

`make browser` installs what this needs; without node, Chromium or the packages the tests are skipped. The check itself is
`browser/check.mjs`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune import render_comparison
from finetune.render import render_html
from tests.kind_examples import KIND_EXAMPLES
from tests.report_examples import collapsed, five_seeds, many_classes, not_trained, single_seed, undefined, with_text
from tests.test_render_comparison import compare_three_runs

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parent / "browser"
CHROMIUM = os.environ.get("CHROMIUM", "chromium")
PAGES: dict[str, Callable[[Path], str]] = {
    "single_seed": lambda _: render_html(single_seed()),
    "five_seeds": lambda _: render_html(five_seeds()),
    "collapsed": lambda _: render_html(collapsed()),
    "many_classes": lambda _: render_html(many_classes()),
    "undefined": lambda _: render_html(undefined()),
    "not_trained": lambda _: render_html(not_trained()),
    **{name: lambda _, build=build: render_html(build()) for name, build in KIND_EXAMPLES.items()},
    "comparison": lambda folder: render_comparison.render_html(compare_three_runs(folder)),
    "hostile": lambda _: render_html(
        with_text("\"'><script>alert(1)</script><img src=x onerror=alert(1)> شكرا " + "a" * 900)
    ),
}
WAYS = 4
"""Two widths, light and dark."""
BROKEN = """<!DOCTYPE html>
<html><head><title>broken</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-AAAA'"></head>
<body><div style="width: 3000px; background: #fff; color: #eee">wide and pale</div><script>alert(1)</script><p><div></div></p>
<table class="sortable"><caption>numbers</caption><thead><tr><th>n<button aria-label="sort">n</button></th></tr></thead>
<tbody><tr><td>2</td></tr><tr><td>1</td></tr></tbody></table></body></html>
"""


def check(folder: Path, pages: dict[str, str]) -> dict[str, dict]:
    """Return what is wrong with each page, by its name."""
    missing = [name for name in ("node", CHROMIUM) if shutil.which(name) is None]
    if missing or not (FOLDER / "node_modules" / "playwright-core").exists():
        pytest.skip(f"{', '.join(missing) or 'the packages of tests/browser'}: not installed (make browser)")
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["node", str(FOLDER / "check.mjs"), *(str(folder / f"{name}.html") for name in pages)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
        env={**os.environ, "CHROMIUM_PATH": str(shutil.which(CHROMIUM))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name.removesuffix(".html"): found for name, found in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Return what is wrong with each of our pages."""
    pages = {name: render(tmp_path_factory.mktemp(name)) for name, render in PAGES.items()}
    return check(tmp_path_factory.mktemp("pages"), pages)


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_barrier(found: dict[str, dict], page: str) -> None:
    assert found[page]["checks"] == WAYS
    assert found[page]["axe"] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_wider_than_its_window(found: dict[str, dict], page: str) -> None:
    assert found[page]["overflow"] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_browser_complains_of_nothing_and_loads_nothing(found: dict[str, dict], page: str) -> None:
    assert found[page]["console"] == []


@pytest.mark.parametrize("page", PAGES)
def test_columns_of_figures_sort_by_pointer_and_keyboard(found: dict[str, dict], page: str) -> None:
    assert found[page]["sorted"] > 0
    assert found[page]["sorting"] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_html_is_valid(found: dict[str, dict], page: str) -> None:
    assert found[page]["html"] == []


def test_a_broken_page_fails_every_check(tmp_path: Path) -> None:
    broken = check(tmp_path, {"broken": BROKEN})["broken"]
    assert not [name for name in ("axe", "overflow", "console", "sorting", "html") if not broken[name]]
