"""What a rendered report promises, whatever stands in the data."""

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from finetune import error_tables as errors
from finetune import finding_tables as findings
from finetune.anchors import name_place
from finetune.findings import Mistake
from finetune.headline import build_headline, compare
from finetune.markup import neutralise
from finetune.records import Report, SharedRows
from finetune.render import LONGEST_TEXT_IN_MARKDOWN, render_console, render_files, render_html, render_markdown
from finetune.report_facts import build_label_table
from finetune.report_tables import (
    Table,
    build_score_table,
    build_seed_table,
    build_summary_table,
    build_value_table,
    describe_seeds,
)
from finetune.run_dir import RunDir
from finetune.slice_tables import build_every_slice_tables, build_slice_table, describe_slices
from finetune.wording import format_difference, format_p_value, format_score, format_seconds, metric_title, plain
from tests.kind_examples import ALL_EXAMPLES
from tests.report_examples import (
    COLLAPSE,
    build_history,
    build_scores,
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
    # Several in one, as each costs a page.
    "</script><script>alert(1)</script> </title><body onload=alert(1)> <svg/onload=alert(1)> <ScRiPt x>alert(1)</ScRiPt >",
    "<iframe src=javascript:alert(1)> <math href=javascript:alert(1)>x</math> <object data=//e.example> <embed src=//e.example>",
    "<meta http-equiv=refresh content=0;url=//e.example> <base href=//e.example> <link rel=stylesheet href=//e.example> "
    "<form action=//e.example><input autofocus onfocus=alert(1)>",
    "\" autofocus onfocus=alert(1) x=\" ` onload=alert(1) <a href='data:text/html;base64,PHNjcmlwdD4='>x</a> <<b>script>",
    "<!--><script>alert(1)</script--> <![CDATA[<script>alert(1)</script>]]> <?xml ?> <!DOCTYPE x> &#60;script&#62; \\u003cscript>",
    "=cmd|' /C calc'!A1 <img src=x\n onerror\n=alert(1)> javascript:alert(1) url(//e.example) expression(alert(1))",
)
PICTURES = ["reliability.svg", "roc_curve.svg", "precision_recall_curve.svg", "learning_curve.svg", "confusion.svg"]
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


@cache
def page_of(build: Callable[[], Report]) -> str:
    """Return the page of an example; drawing its pictures is what takes time."""
    return render_html(build())


@cache
def page_with(text: str) -> str:
    """Return the page of a report in which a text of the data stands everywhere."""
    return render_html(with_text(text))


def show(report: Report, width: int = 200) -> str:
    """Return what a terminal without colours shows."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(render_console(report))
    return stream.getvalue()


def source_of(markdown: str) -> str:
    """Return Markdown with its character references resolved."""
    return re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), markdown)


def list_measured_tables(report: Report, longest_text: int | None = None) -> list[Table]:
    """Return every table of figures that were measured, as HTML shows them, or Markdown with texts of that length."""
    found = [
        build_score_table(report),
        build_slice_table(report),
        *build_every_slice_tables(report),
        build_seed_table(report),
        build_summary_table(report),
        build_value_table(report),
        findings.build_reliability_table(report),
        findings.build_decision_table(report),
        findings.build_undecided_table(report),
        *findings.build_curve_tables(report),
        *errors.build_confused_tables(report, longest_text),
        errors.build_mistake_table(report, longest_text),
        errors.build_doubt_table(report, longest_text),
        errors.build_near_duplicate_table(report, longest_text),
    ]
    # A table of all rows alone is no table of slices.
    return [table for table in found if not (table.anchor == "every-slice" and len(table.rows) < 2)]


def list_sentences(report: Report) -> list[str]:
    """Return what is said of findings in HTML and Markdown."""
    return [
        *describe_slices(report),
        *describe_seeds(report),
        *([findings.HOW_TO_READ_RELIABILITY] if report.calibration else []),
        findings.describe_curves(report),
        *errors.describe_doubts(report),
        *errors.describe_near_duplicates(report),
        *(value for _, value in findings.list_calibration_facts(report)),
    ]


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_numbers_in_html_markdown_and_console_are_the_same_strings(build: Callable[[], Report]) -> None:
    report = build()
    page, markdown, console = Page(page_of(build)).text, source_of(render_markdown(report)), show(report)
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


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_every_table_and_finding_stands_in_html_and_markdown(build: Callable[[], Report]) -> None:
    report = build()
    page, markdown = Page(page_of(build)).text, source_of(render_markdown(report))
    for text, longest in ((page, None), (markdown, LONGEST_TEXT_IN_MARKDOWN)):
        for table in list_measured_tables(report, longest):
            # The only seed is a list of facts, and a single decision has the title of its table.
            assert not table.rows or table.anchor == "each-seed" or table.caption in text
            assert not table.rows or table.note in text
            assert not [cell for row in table.rows for cell in row.cells if cell not in text]
        assert not [sentence for sentence in list_sentences(report) if sentence not in text]


def test_the_console_says_which_slices_differ_and_how_well_calibrated_the_model_is() -> None:
    shown = " ".join(show(single_seed()).split())
    assert "in-domain: 0.121 above the rest (p = 0.005 after correction over 49 slices)" in shown
    assert "phenomenon Violations: 0.204 below the rest (p = 0.015 after correction over 49 slices)" in shown
    assert "Calibration error 0.032, 10 bins of equal width by the probability of the most probable label" in shown
    assert "temperature 1.313 and threshold 0.580 for acceptable chosen on 855 dev rows." in shown
    assert "No slice differs from the rest beyond noise (Holm's correction over 2 slices)." in show(five_seeds())
    assert "Calibration error 0.032, 10 bins" not in show(not_trained())


NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")


def write_every_number(record: object) -> set[str]:
    """Return every number of a JSON value in each way that a report may print it, and those that stand in its texts."""
    if isinstance(record, dict):
        return {text for key, value in record.items() for text in write_every_number(value) | set(NUMBER.findall(key))}
    if isinstance(record, list):
        return {text for value in record for text in write_every_number(value)}
    if isinstance(record, str):
        return set(NUMBER.findall(plain(record)))
    if isinstance(record, bool) or record is None:
        return set()
    assert isinstance(record, int | float)
    rounded = f"{record:.3f}".replace("-0.000", "0.000")
    written = {rounded, rounded if float(rounded) <= 0 else f"+{rounded}"}
    # A perplexity, and a figure of 1,000 or more.
    written |= {f"{record:,.1f}", f"{record:+,.1f}", f"{record:,.3f}"}
    if isinstance(record, int):
        written.add(f"{record:,}")
    elif 1e-6 <= record < 0.001:
        written.add(f"{float(f'{record:.0e}'):.6f}".rstrip("0"))
    return written


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_every_number_in_a_table_is_one_of_the_record_to_the_printed_digits(build: Callable[[], Report]) -> None:
    report = build()
    known = write_every_number(json.loads(report.model_dump_json()))
    for table in list_measured_tables(report):
        # A duration in minutes is the only figure in another unit than the record's.
        measured = [column for column, title in enumerate(table.columns) if title != "training"]
        strange = {
            number
            for row in table.rows
            for column in measured
            for number in NUMBER.findall(row.cells[column])
            if number not in known
        }
        assert not strange, table.caption


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_shares_of_counts_are_those_of_the_record(build: Callable[[], Report]) -> None:
    report = build()
    if report.confusion and len(report.confusion.labels) <= errors.MOST_CLASSES_IN_MATRIX:
        for number, row in enumerate(errors.build_confusion_table(report).rows):
            counts = report.confusion.counts[number]
            assert list(row.cells[1:-1]) == [f"{count:,}" for count in (*counts, sum(counts))]
            assert row.cells[-1] == f"{100 * counts[number] / sum(counts):.1f} %"
    for row, label in zip(build_label_table(report).rows, report.data.labels, strict=True):
        counts = [(split.labels[label], split.rows) for split in report.data.splits]
        assert list(row.cells[1:]) == [f"{count:,} ({100 * count / rows:.1f} %)" for count, rows in counts]


def test_a_report_without_findings_has_no_empty_section() -> None:
    page, markdown = page_of(not_trained), render_markdown(not_trained())
    assert set(re.findall(r'<section id="([^"]+)"', page)) == {
        "result",
        "scores",
        "slices",
        "seeds",
        "training",
        "confusion",
        "mistakes",
        "data",
        "provenance",
    }
    for title in ("Reliability", "Curves", "Doubted", "Near dup", "Decisions", "against the rest"):
        assert title not in Page(page).text
        assert title not in markdown


def test_every_section_table_picture_and_score_has_its_place() -> None:
    report = single_seed()
    page = Page(page_of(single_seed))
    ids = {value for name, value in page.attributes if name == "id"}
    assert {"slices", "calibration", "curves", "doubts", "near-duplicates"} <= ids
    assert {"learning-curve", "confusion-matrix", "reliability-diagram", "roc", "precision-recall"} <= ids
    assert {f"score--{score.name}" for score in report.scores if score.slice == "all"} <= ids
    for score in report.scores:
        if score.slice != "all":
            assert {name_place("slice", score.slice), name_place("slice", score.slice, score.name)} <= ids
    tables = [table for table in list_measured_tables(report) if table.rows and table.columns[0] != "seed"]
    assert {table.anchor for table in tables if table.anchor != "decisions"} <= ids


def test_flagged_slices_stand_first_and_are_marked() -> None:
    rows = build_slice_table(single_seed()).rows
    assert [(row.cells[0], row.is_flagged) for row in rows[:4]] == [
        ("all", False),
        ("in-domain", True),
        ("Violations", True),
        ("out-of-domain", False),
    ]
    assert page_of(single_seed).count('class="flagged"') == 2


def test_slices_of_which_none_could_be_tested_are_said_to_be_so() -> None:
    tests = [test for test in single_seed().slice_tests if test.p_value is None]
    assert describe_slices(single_seed(slice_tests=tests)) == ["No slice could be tested against the rest."]


def test_slices_without_an_interval_are_explained_once() -> None:
    shown = build_slice_table(single_seed())
    assert "2 figures without brackets: undefined in 12.5% of the resamples, allowed are 5%." in shown.note
    assert not [cell for row in shown.rows for cell in row.cells if "no interval" in cell]
    every = build_every_slice_tables(single_seed())[0]
    assert "22 figures without brackets: undefined in 12.5% of the resamples" in every.note
    assert "11 figures undefined: fewer than 10 rows." in every.note


def test_every_metric_of_a_slice_stands_in_its_row_and_column() -> None:
    (shown,) = build_every_slice_tables(single_seed())
    report = single_seed()
    assert len(shown.rows) == 50
    for row in shown.rows:
        for cell, place, title in zip(row.cells[1:-1], row.anchors[1:-1], shown.columns[1:-1], strict=True):
            (score,) = [score for score in report.scores if place == name_place("slice", score.slice, score.name)]
            assert score.slice == row.cells[0]
            assert metric_title(score.name) == title
            assert cell == format_score(score.value, score.low, score.high)


def test_a_predictor_that_nothing_was_fitted_for_is_no_decision() -> None:
    rows = findings.build_decision_table(five_seeds()).rows
    assert [row.cells[0] for row in rows] == ["seed 1", "seed 2", "seed 3", "seed 4", "seed 5"]
    assert "threshold 0.570 for acceptable of seed 1 chosen on 855 dev rows." in " ".join(show(five_seeds()).split())


def test_resamples_that_draw_no_rows_are_spoken_of() -> None:
    assert "Of source: gj04, each resample draws rows within each class." in build_slice_table(single_seed()).note
    grouped = [score.model_copy(update={"resampling": "groups of like rows"}) for score in single_seed().scores]
    note = build_score_table(single_seed(scores=grouped)).note
    assert note.startswith("Brackets hold 95 % bootstrap intervals over groups of like rows;")
    assert "resample" not in build_score_table(single_seed()).note


def test_intervals_over_seeds_name_their_sources() -> None:
    shown = build_summary_table(five_seeds())
    assert shown.columns[2:5] == ("from seeds", "from rows", "from both")
    assert shown.rows[0].cells[1:7] == (
        "0.208 ± 0.117",
        "0.063 to 0.353",
        "0.166 to 0.249",
        "0.042 to 0.373",
        "0.000",
        "0.274",
    )
    assert "seeds and rows as two sources of variance" in shown.note
    older = [
        summary.model_copy(update=dict.fromkeys(("rows_low", "rows_high", "both_low", "both_high")))
        for summary in five_seeds().seed_summaries
    ]
    old = five_seeds().model_copy(update={"seed_summaries": older})
    assert build_summary_table(old).columns[2:4] == ("from seeds", "min")
    assert "(0.063 to 0.353)" in build_headline(old).sentence
    assert "Student's t over the seeds" in build_score_table(old).note


def test_collapsed_seeds_are_counted() -> None:
    assert describe_seeds(five_seeds())[0] == (
        "1 of 5 seeds collapsed to one class (seed 4); none is left out of any figure."
    )
    assert describe_seeds(single_seed()) == []


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (None, "p undefined"),
        (1.0, "p = 1.000"),
        (0.0312, "p = 0.031"),
        (0.00096, "p = 0.001"),
        (0.00042, "p = 0.0004"),
        (0.00001, "p = 0.00001"),
        (0.0000001, "p < 1e-6"),
    ],
)
def test_a_p_value_is_written_with_the_digits_that_it_needs(p: float | None, words: str) -> None:
    assert format_p_value(p) == words


def test_a_difference_has_a_sign() -> None:
    assert format_difference(0.031, -0.0104, 0.0719) == "+0.031 (-0.010 to +0.072)"
    assert format_difference(-0.0002) == "0.000"
    assert format_difference(None) == "undefined"


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
        "Matthews correlation 0.208 ± 0.117 (0.042 to 0.373) over 5 seeds on 1,043 test rows: 1 of 5 seeds collapsed"
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
    for build in (collapsed, five_seeds):
        report, page = build(), page_of(build)
        assert Page(page[page.index("<body") :]).text.startswith("COLLAPSED:")
        assert render_markdown(report).startswith("> [!CAUTION]\n> **COLLAPSED:")
        assert re.match(r"[^\w]*COLLAPSED:", show(report))
    assert COLLAPSE in Page(page_of(collapsed)).text


def test_warnings_stand_before_the_scores() -> None:
    warning = single_seed().warnings[0]
    for text in (
        Page(page_of(single_seed)).text.split("Provenance", 1)[1],
        render_markdown(single_seed()),
        show(single_seed()),
    ):
        assert text.index(warning) < text.index("Accuracy")


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_html_has_no_external_reference(build: Callable[[], Report]) -> None:
    page = Page(page_of(build))
    pointers = [
        value
        for name, value in page.attributes
        if name in ("href", "src", "xlink:href", "action", "data", "poster", "srcset")
    ]
    ids = [value for name, value in page.attributes if name == "id"]
    assert all(pointer.startswith("#") and pointer[1:] in ids for pointer in pointers)
    assert len(ids) == len(set(ids))
    assert not re.search(r"@import|url\((?!#)", page_of(build))


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_the_only_script_that_may_run_is_the_one_in_the_page(build: Callable[[], Report]) -> None:
    text = page_of(build)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    assert ("content", policy) in Page(text).attributes


def test_the_script_holds_nothing_of_the_data() -> None:
    scripts = {
        re.findall(r"<script>(.*?)</script>", page_of(build), flags=re.DOTALL)[0] for build in ALL_EXAMPLES.values()
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


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_html_is_well_formed(build: Callable[[], Report]) -> None:
    page = Page(page_of(build))
    assert not page.unbalanced
    assert not page.open
    assert page.elements.count("h1") == 1
    assert page.elements.count("caption") == page.elements.count("table")
    assert ("lang", "en") in page.attributes


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_of_the_data_cannot_become_markup(text: str) -> None:
    page = Page(page_with(text))
    assert set(page.elements) <= ELEMENTS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert page.elements.count("svg") == 5
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
    assert [token.attrs["src"] for token in inside if token.type == "image"] == PICTURES
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
    assert named == set(PICTURES) == {path.name for path in tmp_path.glob("*.svg")}


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
    began = time.process_time()
    render_files(single_seed(), RunDir(tmp_path))
    assert time.process_time() - began < 1.5


def test_a_page_of_ten_thousand_rows_and_a_hundred_slices_is_smaller_than_two_megabytes() -> None:
    slices = [f"source: a name of some length, number {number}" for number in range(100)]
    rows = [f"test/{number}" for number in range(10_000)]
    report = single_seed()
    near, doubts = report.near_duplicates, report.doubts
    assert near and doubts
    texts = [
        Mistake(row=row, text="word " * 200, expected="unacceptable", predicted="acceptable", probability=0.9)
        for row in rows[:20]
    ]
    large = report.model_copy(
        update={
            "scores": [*build_scores(n=10_000), *(score for name in slices for score in build_scores(slice_name=name))],
            "slice_tests": [report.slice_tests[0].model_copy(update={"slice": name}) for name in slices],
            "mistakes": texts,
            "confused": [pair.model_copy(update={"examples": texts[:5]}) for pair in report.confused] * 6,
            "doubts": doubts.model_copy(
                update={"rows": [doubts.rows[0].model_copy(update={"row": row}) for row in rows[:20]]}
            ),
            "near_duplicates": near.model_copy(update={"rows": rows}),
            "data": report.data.model_copy(update={"shared_with_train": [SharedRows(part="test", rows=rows)]}),
            "history": build_history(1, steps=20_000),
        }
    )
    assert len(render_html(large).encode()) < 2_000_000


def test_a_duration_has_the_two_units_that_matter() -> None:
    assert [format_seconds(seconds) for seconds in (0.04, 75, 391.2, 8000)] == [
        "0.0 s",
        "75.0 s",
        "6 min 31 s",
        "2 h 13 min",
    ]
