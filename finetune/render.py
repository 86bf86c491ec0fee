"""A report as people see it: an HTML page, Markdown for pull requests, a summary for the terminal.

Owns what each of them shows, and in which order. The strings are made in `wording` and the modules of tables and facts, the pictures in
`pictures` and `curve_pictures`; markup is the templates'. No figure is computed here.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from finetune import error_tables as errors
from finetune import finding_tables as findings
from finetune import objective_tables as objectives
from finetune import report_facts as facts
from finetune import report_tables as tables
from finetune import slice_tables as slices
from finetune.curve_pictures import draw_precision_recall, draw_reliability, draw_roc
from finetune.headline import build_headline
from finetune.markup import build_page_parts, html_environment, markdown_environment
from finetune.pictures import draw_confusion, draw_learning_curve, draw_scatter
from finetune.record_files import write_text
from finetune.records import Report
from finetune.resolved import render_yaml
from finetune.run_dir import RunDir
from finetune.strips import build_forest, draw_strips
from finetune.svg import follow_page
from finetune.wording import has_classes, plain, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST_TEXT_IN_MARKDOWN = 200


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
    return {name: draw() for name, draw in _list_drawings(report).items()}


def list_pictures(report: Report) -> list[str]:
    """Return the names of the pictures that the report has something to draw of."""
    return list(_list_drawings(report))


def _list_drawings(report: Report) -> dict[str, Callable[[], str]]:
    drawings: dict[str, Callable[[], str]] = {}
    if any(point.loss is not None or point.dev_score is not None for point in report.history):
        drawings["learning_curve"] = lambda: draw_learning_curve(report.history)
    if (confusion := report.confusion) is not None:
        drawings["confusion"] = lambda: draw_confusion(confusion)
    if (regression := report.regression) is not None:
        drawings["scatter"] = lambda: draw_scatter(regression)
    if (calibration := report.calibration) is not None:
        drawings["reliability"] = lambda: draw_reliability(calibration)
    if (curves := report.curves) is not None:
        areas = [findings.describe_area(report, metric) for metric in ("roc_auc", "pr_auc")]
        drawings["roc_curve"] = lambda: draw_roc(curves, areas[0], confusion)
        drawings["precision_recall_curve"] = lambda: draw_precision_recall(curves, areas[1], confusion)
    return drawings


def render_html(report: Report, pictures: dict[str, str] | None = None) -> str:
    """Return the report as one HTML page that loads nothing; `pictures` are drawn where they are not given."""
    drawn = pictures if pictures is not None else draw_pictures(report)
    # A picture is XML whose texts were escaped when it was written.
    inside = {name: Markup(follow_page(picture)) for name, picture in drawn.items()}  # noqa: S704
    return (
        html_environment()
        .get_template("report.html.j2")
        .render(
            _build_view(report),
            **build_page_parts(),
            forest=build_forest(report),
            pictures=inside,
            draw_strips=draw_strips,
            zip=zip,
        )
    )


def render_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown; it shows the pictures that `render_files` writes beside it."""
    text = (
        markdown_environment()
        .get_template("report.md.j2")
        .render(
            _build_view(report, LONGEST_TEXT_IN_MARKDOWN),
            pictures={name: RunDir(Path()).picture(name).name for name in list_pictures(report)},
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_console(report: Report) -> "RenderableType":
    """Return the summary for the terminal: the warnings of a collapse, the headline, other warnings, the scores."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table as ConsoleTable
    from rich.text import Text

    # rich reads no markup in Text, and `plain` leaves no control character for the terminal to obey.
    parts: list[RenderableType] = [
        Panel(Text(warning), style="bold red", box=box.HEAVY)
        for warning in ([plain(report.collapse)] if report.collapse else [])
    ]
    headline, shown = build_headline(report), tables.build_score_table(report)
    parts += [
        Text.assemble((plain(report.name), "bold"), "  ", (plain(report.title), "dim")),
        Text(""),
        Text(headline.sentence),
    ]
    parts += [Text(headline.ensemble)] if headline.ensemble else []
    parts += [Text.assemble(("! ", "bold yellow"), plain(warning)) for warning in report.warnings]
    parts += [Text(sentence) for sentence in slices.describe_slices(report)]
    parts += [Text(sentence) for sentence in objectives.describe_asked(report)]
    parts += [Text(calibration)] if (calibration := findings.describe_calibration(report)) else []
    scores = ConsoleTable(box=box.SIMPLE, pad_edge=False, caption=Text(shown.note, style="dim"), caption_justify="left")
    # Baselines other than of the primary metric would not fit a terminal; the files have them.
    kept = [0, *range(1, 3 if report.seed_summaries else 2), len(shown.columns) - 1]
    for column in kept:
        scores.add_column(
            Text(shown.columns[column]),
            justify="right" if shown.align[column] == "r" else "left",
            no_wrap=column == kept[-1],
            min_width=12 if column == 0 else None,
        )
    for row in shown.rows:
        scores.add_row(*(Text(row.cells[column]) for column in kept))
    return Group(*parts, scores)


def _build_view(report: Report, longest_text: int | None = None) -> dict[str, Any]:
    """Return what both templates show; all text of the data in it is plain text on one line, the recipe apart.

    Examples of the data end after `longest_text` characters.
    """
    return {
        "name": plain(report.name),
        "title": plain(report.title),
        "task": plain(report.task),
        "started": plain(report.provenance.started),
        "alarms": [plain(report.collapse)] if report.collapse else [],
        "warnings": [plain(warning) for warning in report.warnings],
        "headline": build_headline(report),
        "scores": tables.build_score_table(report),
        "slices": slices.build_slice_table(report),
        "slice_sentences": slices.describe_slices(report),
        "every_slice": slices.build_every_slice_tables(report),
        "calibration_facts": findings.list_calibration_facts(report),
        "reliability": findings.build_reliability_table(report),
        "reliability_note": findings.HOW_TO_READ_RELIABILITY,
        "decisions": findings.build_decision_table(report),
        "undecided": findings.build_undecided_table(report),
        "curve_note": findings.describe_curves(report),
        "curve_tables": findings.build_curve_tables(report),
        "seeds": tables.build_seed_table(report),
        "seed_sentences": tables.describe_seeds(report),
        "summary": tables.build_summary_table(report),
        "seed_values": tables.build_value_table(report),
        "is_several_seeds": len(report.seeds) > 1,
        "confusion": errors.build_confusion_table(report) if report.confusion else None,
        "has_classes": has_classes(report),
        "confused": errors.build_confused_tables(report, longest_text),
        "mistakes": errors.build_mistake_table(report, longest_text),
        "scatter_note": objectives.describe_scatter(report),
        "number_errors": objectives.build_number_error_table(report, longest_text),
        "label_scores": objectives.build_label_score_table(report),
        "right_rows": objectives.describe_right_rows(report),
        "wrong_labels": objectives.build_wrong_label_table(report, longest_text),
        "asked": objectives.describe_asked(report),
        "documents": objectives.build_document_tables(report, longest_text),
        "doubt_sentences": errors.describe_doubts(report),
        "doubts": errors.build_doubt_table(report, longest_text),
        "near_sentences": errors.describe_near_duplicates(report),
        "near_duplicates": errors.build_near_duplicate_table(report, longest_text),
        "near_rows": errors.list_near_duplicate_rows(report),
        "splits": facts.build_split_table(report),
        "labels": facts.build_label_table(report),
        "data_facts": facts.list_data_facts(report),
        "fingerprints": facts.list_fingerprints(report),
        "provenance": facts.list_provenance(report),
        "recipe": visible(render_yaml(report.recipe)).rstrip(),
    }
