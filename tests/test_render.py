"""What a rendered report promises, whatever stands in the data."""

import base64
import hashlib
import io
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from finetune.anchors import name_place
from finetune.headline import build_headline, compare
from finetune.markup import neutralise
from finetune.records import Report
from finetune.render import render_console, render_files, render_html, render_markdown
from finetune.report_tables import build_score_table, build_seed_table, build_slice_table, build_summary_table
from finetune.run_dir import RunDir
from finetune.wording import format_score, format_seconds, plain
from tests.report_examples import (
    COLLAPSE,
    EXAMPLES,
    collapsed,
    five_seeds,
    many_classes,
    not_trained,
    single_seed,
    undefined,
    with_text,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onclick='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--><b>",
    "&lt;i&gt;",
    "\u202etxet desrever",
    "شكرا جزيلا",
    "a" * 3000,
    "\x1b[31mred\x07\r\x00",
    "[bold]rich[/bold] [link=http://x]y[/link]",
    "![p](http://evil.example/p.png) [l](http://evil.example) www.evil.example",
    "| a | `b` ```c``` ~~~ **d** __e__",
    "# heading\n- list\n1. one\n> quote\n---\n",
    "@someone #12 GH-12 me@evil.example",
    "\\|",
)
VOID = {"meta", "br", "img", "link", "input", "hr"}
ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "script",
    "body",
    "header",
    "main",
    "nav",
    "section",
    "footer",
    "div",
    "p",
    "span",
    "i",
    "strong",
    "h1",
    "h2",
    "h3",
    "ul",
    "li",
    "a",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "figure",
    "pre",
    "svg",
    "g",
    "path",
    "text",
    "use",
    "defs",
    "clippath",
    "rect",
    "desc",
}
ATTRIBUTES = {
    "id",
    "class",
    "style",
    "lang",
    "dir",
    "href",
    "charset",
    "http-equiv",
    "content",
    "name",
    "role",
    "scope",
    "tabindex",
    "aria-label",
    "aria-labelledby",
    "aria-hidden",
    "xmlns",
    "xmlns:xlink",
    "xlink:href",
    "width",
    "height",
    "viewbox",
    "version",
    "d",
    "x",
    "y",
    "transform",
    "clip-path",
}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        """Return the visible text with single spaces."""
        return " ".join("".join(self.words).split())


def show(report: Report, width: int = 200) -> str:
    """Return what a terminal without colours shows."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(render_console(report))
    return stream.getvalue()


def source_of(markdown: str) -> str:
    """Return Markdown with its character references resolved."""
    return re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), markdown)


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_numbers_in_html_markdown_and_console_are_the_same_strings(build: Callable[[], Report]) -> None:
    report = build()
    page, markdown, console = Page(render_html(report)).text, source_of(render_markdown(report)), show(report)
    shown = build_score_table(report)
    column = 2 if report.seed_summaries else 1
    for row in shown.rows:
        for string in (row.cells[0], *row.cells[1 : column + 1], row.cells[-1]):
            assert string in page
            assert string in markdown
            assert string in console
    assert " ".join(build_headline(report).sentence.split()) in page
    assert build_headline(report).sentence in markdown
    assert build_headline(report).sentence in " ".join(console.split())


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_every_table_stands_in_html_and_markdown(build: Callable[[], Report]) -> None:
    report = build()
    page, markdown = Page(render_html(report)).text, source_of(render_markdown(report))
    tables = [
        build_score_table(report),
        build_slice_table(report),
        build_seed_table(report),
        build_summary_table(report),
    ]
    if len(tables[1].rows) < 2:
        del tables[1]
    for cell in (cell for table in tables for row in table.rows for cell in row.cells):
        assert cell in page
        assert cell in markdown


def test_a_score_equals_the_record_to_three_decimals() -> None:
    report = single_seed()
    first = report.scores[0]
    shown = build_score_table(report).rows[0].cells[1]
    assert shown == f"{first.value:.3f} ({first.low:.3f} to {first.high:.3f})" == "0.253 (0.201 to 0.305)"


def test_an_undefined_score_says_why() -> None:
    assert "undefined (only one class in the labels)" in render_markdown(undefined())
    assert "0.716 (no interval: undefined in 12.5% of the resamples, allowed are 5%)" in render_markdown(undefined())
    assert format_score(None) == "undefined"


def test_minus_zero_is_zero() -> None:
    assert format_score(-0.0001, -0.0002, 0.1) == "0.000 (0.000 to 0.100)"


def test_a_run_of_several_seeds_leads_with_mean_spread_and_ensemble() -> None:
    headline = build_headline(five_seeds())
    assert headline.sentence.startswith(
        "Matthews correlation 0.208 ± 0.117 (0.063 to 0.353) over 5 seeds on 1,043 test rows: 1 of 5 seeds collapsed"
    )
    assert headline.ensemble == "The ensemble of seeds scores 0.271 (0.219 to 0.323)."


@pytest.mark.parametrize(
    ("value", "low", "high", "higher", "words"),
    [
        (0.3, 0.2, 0.4, True, "clearly better than"),
        (0.3, 0.05, 0.4, True, "not clearly better than"),
        (0.1, 0.05, 0.4, True, "not better than"),
        (0.05, 0.0, 0.09, True, "clearly worse than"),
        (0.05, 0.0, 0.09, False, "clearly better than"),
        (0.3, None, None, True, "not clearly better than"),
        (None, None, None, True, "not comparable with"),
    ],
)
def test_a_baseline_is_beaten_clearly_only_by_the_whole_interval(
    value: float | None, low: float | None, high: float | None, higher: bool, words: str
) -> None:
    assert compare(value, low, high, 0.1, higher_is_better=higher)[1] == words


def test_a_collapsed_run_says_so_before_anything_else() -> None:
    for report in (collapsed(), five_seeds()):
        page = render_html(report)
        assert Page(page[page.index("<body") :]).text.startswith("COLLAPSED:")
        assert render_markdown(report).startswith("> [!CAUTION]\n> **COLLAPSED:")
        assert re.match(r"[^\w]*COLLAPSED:", show(report))
    assert COLLAPSE in Page(render_html(collapsed())).text


def test_warnings_stand_before_the_scores() -> None:
    warning = single_seed().warnings[0]
    for text in (
        Page(render_html(single_seed())).text.split("Provenance", 1)[1],
        render_markdown(single_seed()),
        show(single_seed()),
    ):
        assert text.index(warning) < text.index("Accuracy")


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_html_has_no_external_reference(build: Callable[[], Report]) -> None:
    page = Page(render_html(build()))
    pointers = [
        value
        for name, value in page.attributes
        if name in ("href", "src", "xlink:href", "action", "data", "poster", "srcset")
    ]
    ids = [value for name, value in page.attributes if name == "id"]
    assert all(pointer.startswith("#") and pointer[1:] in ids for pointer in pointers)
    assert len(ids) == len(set(ids))
    assert not re.search(r"@import|url\((?!#)", render_html(build()))


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_the_only_script_that_may_run_is_the_one_in_the_page(build: Callable[[], Report]) -> None:
    text = render_html(build())
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    assert ("content", policy) in Page(text).attributes


def test_the_script_holds_nothing_of_the_data() -> None:
    scripts = {
        re.findall(r"<script>(.*?)</script>", render_html(build()), flags=re.DOTALL)[0] for build in EXAMPLES.values()
    }
    assert len(scripts) == 1


names = st.text(max_size=60) | st.sampled_from(["a b", "a-b", "A B", "a--b", "", "é", "in-domain", "0123456789ab"])


@given(st.lists(st.tuples(names, names), unique=True, max_size=20))
def test_different_figures_have_different_and_safe_places(figures: list[tuple[str, str]]) -> None:
    places = [name_place("slice", *names) for names in figures]
    assert len(set(places)) == len(places)
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]*", place) for place in places)


def test_the_place_of_a_plain_name_is_that_name() -> None:
    assert name_place("slice", "in-domain", "roc_auc") == "slice--in-domain--roc_auc"


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_html_is_well_formed(build: Callable[[], Report]) -> None:
    page = Page(render_html(build()))
    assert not page.unbalanced
    assert not page.open
    assert page.elements.count("h1") == 1
    assert page.elements.count("caption") == page.elements.count("table")
    assert ("lang", "en") in page.attributes


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_of_the_data_cannot_become_markup(text: str) -> None:
    page = Page(render_html(with_text(text)))
    assert set(page.elements) <= ELEMENTS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert page.elements.count("svg") == 2
    assert page.elements.count("style") == page.elements.count("script") == 1
    assert not page.unbalanced
    assert plain(text) in page.text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_of_the_data_stays_in_its_cell_of_the_markdown(text: str) -> None:
    markdown = re.sub(r"^(`{3,})yaml\n.*?^\1$", "", render_markdown(with_text(text)), flags=re.DOTALL | re.MULTILINE)
    ours = re.sub(
        r"</?(details|summary)>|!\[[\w ]+\]\(\w+\.svg\)|\*\*|^> \[!\w+\]|^> ", "", markdown, flags=re.MULTILINE
    )
    assert not re.search(r"[<>`*\[\]\\~]|\w://|[@#](?=\w)(?!\d+;)", ours)
    for above, below in pairwise(markdown.splitlines()):
        if above.startswith("|") and below:
            assert below.startswith("|")
            assert below.count("|") == above.count("|")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", markdown)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_markdown_parser_finds_no_markup_in_text_of_the_data(text: str) -> None:
    blocks = MarkdownIt("commonmark").enable("table").parse(render_markdown(with_text(text)))
    inside = [token for block in blocks for token in block.children or ()]
    assert {token.type for token in inside} <= {
        "text",
        "text_special",
        "strong_open",
        "strong_close",
        "softbreak",
        "image",
    }
    assert [token.attrs["src"] for token in inside if token.type == "image"] == ["learning_curve.svg", "confusion.svg"]
    assert [token.type for token in blocks].count("fence") == 1
    assert all(
        re.fullmatch(r"\s*(</?details>|<summary>[\w ]+</summary>|\s)*", block.content)
        for block in blocks
        if block.type == "html_block"
    )
    assert [block.tag for block in blocks if block.type == "heading_open"].count("h1") == 1
    assert plain(text)[:150] in "\n".join(
        "".join(token.content for token in block.children or ()) for block in blocks
    ).replace("\u200b", "")


def test_a_code_block_in_the_recipe_cannot_end_the_one_around_it() -> None:
    markdown = render_markdown(with_text("```\n````\n<b>"))
    assert re.search(r"^`{5}yaml$", markdown, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("a|b", "a&#124;b"),
        ("snake_case", "snake_case"),
        ("_x_", "&#95;x&#95;"),
        ("- a", "&#45; a"),
        ("1. a", "1&#46; a"),
        ("-0.05", "-0.05"),
        ("@you", "@&#8203;you"),
        ("see #12", "see #&#8203;12"),
        ("http://a.b", "http&#58;//a.b"),
        ("&lt;", "&#38;lt;"),
    ],
)
def test_marks_of_markdown_become_references(text: str, inert: str) -> None:
    assert neutralise(text) == inert


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_of_the_data_cannot_command_the_terminal(text: str) -> None:
    shown = show(with_text(text), width=400)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown)
    assert plain(text)[:100] in shown


def test_the_console_fits_eighty_columns_and_is_plain_without_a_terminal() -> None:
    for report in (single_seed(), five_seeds(), undefined()):
        shown = show(report, width=100)
        assert max(map(len, shown.splitlines())) <= 100
        assert "\x1b" not in shown


def test_a_run_that_trained_nothing_has_no_curve_and_says_so(tmp_path: Path) -> None:
    render_files(not_trained(), RunDir(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]
    assert "Nothing was trained" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "not measured" in render_markdown(not_trained())


def test_files_are_written_with_the_pictures_that_the_markdown_names(tmp_path: Path) -> None:
    render_files(single_seed(), RunDir(tmp_path))
    named = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", (tmp_path / "report.md").read_text(encoding="utf-8")))
    assert named == {"learning_curve.svg", "confusion.svg"} == {path.name for path in tmp_path.glob("*.svg")}


def test_the_same_report_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        render_files(five_seeds(), RunDir(tmp_path / name))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_too_many_classes_for_a_matrix_are_listed_by_frequency() -> None:
    assert "Most frequent confusions" in render_markdown(many_classes(42))
    assert "42 classes are too many to draw" in Page(render_html(many_classes(42))).text


def test_rendering_takes_less_than_a_second_and_a_half(tmp_path: Path) -> None:
    began = time.perf_counter()
    render_files(five_seeds(), RunDir(tmp_path))
    assert time.perf_counter() - began < 1.5


def test_a_duration_has_the_two_units_that_matter() -> None:
    assert [format_seconds(seconds) for seconds in (0.04, 75, 391.2, 8000)] == [
        "0.0 s",
        "75.0 s",
        "6 min 31 s",
        "2 h 13 min",
    ]
