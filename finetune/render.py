"""A report as people see it: an HTML page, Markdown for pull requests, a summary for the terminal.

Owns markup, and that no text of the data can become markup. The strings are made in `wording` and `report_tables`, the pictures in
`pictures`; no figure is computed here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from markupsafe import Markup

from finetune import report_tables as tables
from finetune.pictures import draw_confusion, draw_learning_curve, follow_page
from finetune.records import Report, Score
from finetune.report_tables import Figures, Row, Table
from finetune.resolved import render_yaml
from finetune.run_dir import RunDir, write_text
from finetune.scores import pick
from finetune.wording import (
    COLLAPSED,
    build_headline,
    find_rivals,
    find_summary,
    format_range,
    main_predictor,
    plain,
    visible,
    write_score,
    write_summary,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from rich.console import RenderableType

TEMPLATES: Final = Path(__file__).parent / "assets" / "templates"
LEARNING_CURVE, CONFUSION = "learning_curve", "confusion"
LONGEST_TEXT_IN_MARKDOWN = 200
STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)


def render_files(report: Report, run_dir: RunDir) -> None:
    """Write the HTML page, the Markdown and its pictures into the run folder.

    Raises:
        StorageError: the disk is full or failed.
    """
    pictures = draw_pictures(report)
    for name, picture in pictures.items():
        write_text(run_dir.picture(name), picture)
    write_text(run_dir.report_markdown, render_markdown(report))
    write_text(run_dir.report_html, render_html(report, pictures))


def draw_pictures(report: Report) -> dict[str, str]:
    """Return {picture name: SVG} of what the report has something to draw of."""
    drawn = {}
    for name in list_pictures(report):
        drawn[name] = draw_learning_curve(report.history) if name == LEARNING_CURVE else draw_confusion(cast(Any, report.confusion))
    return drawn


def list_pictures(report: Report) -> list[str]:
    """Return the names of the pictures that the report has something to draw of."""
    has_curve = any(point.loss is not None or point.dev_score is not None for point in report.history)
    return [LEARNING_CURVE] * has_curve + [CONFUSION] * (report.confusion is not None)


def render_html(report: Report, pictures: dict[str, str] | None = None) -> str:
    """Return the report as one HTML page that loads nothing; `pictures` are drawn where they are not given."""
    drawn = pictures if pictures is not None else draw_pictures(report)
    template = _html_environment().get_template("report.html.j2")
    return template.render(
        _build_view(report), css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")), forest=_build_forest(report),
        pictures={name: Markup(follow_page(picture)) for name, picture in drawn.items()},
        mistakes=tables.build_mistake_table(report), draw_strips=_draw_strips)


def render_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown; it shows the pictures that `render_files` writes beside it."""
    text = _markdown_environment().get_template("report.md.j2").render(
        _build_view(report), pictures={name: f"{name}.svg" for name in list_pictures(report)},
        mistakes=tables.build_mistake_table(report, LONGEST_TEXT_IN_MARKDOWN))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_console(report: Report) -> "RenderableType":
    """Return the summary for the terminal: the warnings of a collapse, the headline, other warnings, the scores."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table as ConsoleTable
    from rich.text import Text

    # rich reads no markup in Text, and `plain` leaves no control character for the terminal to obey.
    parts: list[RenderableType] = [Panel(Text(warning), style="bold red", box=box.HEAVY) for warning in _find_alarms(report)]
    headline, shown = build_headline(report), tables.build_score_table(report)
    parts += [Text.assemble((plain(report.name), "bold"), "  ", (plain(report.title), "dim")), Text(""), Text(headline.sentence)]
    parts += [Text(headline.ensemble)] if headline.ensemble else []
    parts += [Text.assemble(("! ", "bold yellow"), warning) for warning in _find_warnings(report)]
    scores = ConsoleTable(box=box.SIMPLE, pad_edge=False, caption=Text(shown.note, style="dim"), caption_justify="left")
    # Baselines other than of the primary metric would not fit a terminal; the files have them.
    kept = [0, *range(1, 3 if report.seed_summaries else 2), len(shown.columns) - 1]
    for column in kept:
        scores.add_column(Text(shown.columns[column]), justify="right" if shown.align[column] == "r" else "left", no_wrap=column > 0)
    for row in shown.rows:
        scores.add_row(*(Text(row.cells[column]) for column in kept))
    return Group(*parts, scores)


def _find_alarms(report: Report) -> list[str]:
    return [plain(warning) for warning in report.warnings if warning.startswith(COLLAPSED)]


def _find_warnings(report: Report) -> list[str]:
    return [plain(warning) for warning in report.warnings if not warning.startswith(COLLAPSED)]


def _build_view(report: Report) -> dict[str, Any]:
    """Return what both templates show; all text of the data in it is plain text on one line, the recipe apart."""
    return {
        "name": plain(report.name), "title": plain(report.title), "task": plain(report.task), "started": plain(report.provenance.started),
        "alarms": _find_alarms(report), "warnings": _find_warnings(report), "headline": build_headline(report),
        "scores": tables.build_score_table(report), "slices": tables.build_slice_table(report),
        "every_slice": tables.build_every_slice_table(report), "seeds": tables.build_seed_table(report),
        "summary": tables.build_summary_table(report), "is_several_seeds": len(report.seeds) > 1,
        "confusion": tables.build_confusion_table(report) if report.confusion else None, "splits": tables.build_split_table(report),
        "labels": tables.build_label_table(report), "data_facts": tables.list_data_facts(report),
        "fingerprints": tables.list_fingerprints(report), "provenance": tables.list_provenance(report),
        "recipe": visible(render_yaml(report.recipe)).rstrip()}


# Markup


@cache
def _html_environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _markdown_environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True, finalize=neutralise)
    made.filters["fenced"] = _fence
    return made


def neutralise(text: object) -> Markup:
    """Return text that Markdown shows as it stands: no emphasis, code, link, mention, heading, cell border or HTML.

    References to characters are text to Markdown wherever they stand; GitHub makes links of names and numbers after that,
    which a space without width prevents.
    """
    if isinstance(text, Markup):
        return text
    inert = re.sub(r"[&<>|`*_\[\]\\~$]", lambda found: f"&#{ord(found[0])};", str(text))
    inert = re.sub(r"(?<=\w):(?=//|\w+@)", "&#58;", inert)
    inert = re.sub(r"([@#])(?=\w)|(?<=www)(\.)|\b(GH)(?=-\d)", lambda found: f"{found[0]}&#8203;", inert, flags=re.IGNORECASE)
    # At the start of a line a mark would begin a list, a heading or a quotation.
    return Markup(re.sub(r"^(\d*)([-+=#.)])(?=[\s=-]|$)", lambda found: f"{found[1]}&#{ord(found[2])};", inert))  # noqa: S704


def _fence(text: str) -> Markup:
    """Return text as a block of code whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}yaml\n{text}\n{fence}")  # noqa: S704


# Where the marks of the small pictures stand, in per cent of their width


@dataclass(frozen=True)
class Strip:
    """A score as a dot on a line from its interval, with ticks for baselines; per cent of the width."""

    value: float | None
    low: float | None
    high: float | None
    ticks: tuple[float, ...] = ()
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of the comparison: who, the figure, the picture, and whether it is the run itself."""

    name: str
    figure: str
    strip: Strip
    kind: str


@dataclass(frozen=True)
class Scale:
    """The line of numbers from `low` to `high`."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value stands, 0 to 100."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def strip(self, figures: Figures, ticks: Sequence[float] = (), dots: Sequence[float] = ()) -> Strip:
        """Return the places of a score, of the baselines and of single seeds."""
        value, low, high = (None if figure is None else self.place(figure) for figure in figures)
        return Strip(value, low, high, tuple(map(self.place, ticks)), tuple(map(self.place, dots)))

    def marks(self) -> list[tuple[float, str]]:
        """Return the (place, number) of four to eight round numbers."""
        step = next((step for step in STEPS if (self.high - self.low) / step <= 8), (self.high - self.low) / 4)
        first = int(-(-self.low // step))
        return [(self.place(number * step), f"{number * step:g}") for number in range(first, int(self.high // step) + 1)]


def _choose_scale(numbers: Sequence[float | None]) -> Scale:
    known = [number for number in numbers if number is not None]
    low, high = min(0.0, *known, 0.0), max(1.0, *known, 1.0)
    return Scale(low, high)


def _draw_strips(table: Table, *, is_one_metric: bool) -> list[Strip | None]:
    """Return a strip for each row, all on one scale where they hold one metric."""
    def numbers(row: Row) -> list[float | None]:
        return [*(row.figures or ()), *row.ticks]

    together = _choose_scale([number for row in table.rows for number in numbers(row)])
    return [(together if is_one_metric else _choose_scale(numbers(row))).strip(row.figures, row.ticks)
            if row.figures and row.figures[0] is not None else None for row in table.rows]


def _build_forest(report: Report) -> dict[str, Any]:
    """Return the comparison of the run with its seeds, the baselines and the band, on one scale that fits them."""
    metric = report.primary_metric
    summary = find_summary(report, metric)
    main = pick(report.scores, metric, predictor=main_predictor(report))
    lines: list[tuple[str, str, Figures, tuple[float, ...], str]] = []
    if summary:
        lines.append((f"mean of {summary.n} seeds", write_summary(summary), (summary.mean, summary.low, summary.high),
                      tuple(summary.values), "run"))
    if main:
        lines.append((plain(main.predictor), write_score(main), _figures(main), (), "ensemble" if summary else "run"))
    lines += [(plain(rival.predictor), write_score(rival), _figures(rival), (), "baseline") for rival in find_rivals(report, metric)]
    band = next((band for band in report.bands if (band.metric, band.slice) == (metric, "all")), None)
    known = [number for _, _, figures, dots, _ in lines for number in (*figures, *dots) if number is not None]
    known += [band.low, band.high] if band else []
    low, high = min([0.0, *known]), max([0.1, *known])
    scale = Scale(low - (0.04 * (high - low) if low < 0 else 0.0), high + 0.06 * (high - low))
    entries = [Entry(name, figure, scale.strip(figures, dots=dots), kind) for name, figure, figures, dots, kind in lines]
    return {"entries": entries, "marks": scale.marks(), "band": (scale.place(band.low), scale.place(band.high)) if band else None,
            "band_text": format_range(band.low, band.high) if band else ""}


def _figures(score: Score) -> Figures:
    return score.value, score.low, score.high
