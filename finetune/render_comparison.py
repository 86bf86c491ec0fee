"""A comparison as people see it: an HTML page, Markdown for pull requests, a summary for the terminal.

Owns markup and the scales of its small pictures. The strings are made in `comparison_tables` and `comparison_sentences`; no figure
is computed here.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from finetune import compared_row_tables as row_tables
from finetune import comparison_sentences as sentences
from finetune import comparison_tables as tables
from finetune.comparison_records import Comparison
from finetune.markup import build_page_parts, html_environment, markdown_environment
from finetune.record_files import write_record, write_text
from finetune.report_tables import Figures, Table
from finetune.run_dir import RunDir
from finetune.strips import Entry, Scale, Strip
from finetune.wording import metric_title, plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as ConsoleTable

LONGEST_TEXT_IN_MARKDOWN: Final = 200
SMALLEST_REACH: Final = 0.02
"""How far the scale of a picture reaches from zero at least, so that noise in the last digit doesn't fill it."""
MOST_RUNS_IN_CONSOLE: Final = 2
"""More columns of scores with their intervals don't fit 100 letters."""


def write_comparison(comparison: Comparison, folder: RunDir) -> None:
    """Write the record, the HTML page and the Markdown into a folder.

    Raises:
        StorageError: the disk is full or failed.
    """
    write_record(folder.comparison, comparison)
    write_text(folder.comparison_markdown, render_markdown(comparison))
    write_text(folder.comparison_html, render_html(comparison))


def render_html(comparison: Comparison) -> str:
    """Return the comparison as one HTML page that loads nothing."""
    template = html_environment().get_template("comparison.html.j2")
    return template.render(
        _build_view(comparison),
        **build_page_parts(),
        forest=_build_forest(comparison),
        draw_strips=_draw_strips,
    )


def render_markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    template = markdown_environment().get_template("comparison.md.j2")
    text = template.render(_build_view(comparison, LONGEST_TEXT_IN_MARKDOWN))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _build_view(comparison: Comparison, longest_text: int | None = None) -> dict[str, Any]:
    """Return what both templates show; texts of the data end after `longest_text` characters."""
    return {
        "title": sentences.title_of(comparison),
        "metric": metric_title(comparison.metric),
        "rows": plain(comparison.rows),
        "alarms": sentences.list_alarms(comparison),
        "warnings": [plain(warning) for warning in comparison.warnings],
        "scores": tables.build_score_table(comparison),
        "verdicts": tables.build_verdict_table(comparison),
        "pairs": [
            {
                "anchor": sentences.place_of(pair),
                "title": sentences.title_pair(pair),
                "is_clear": pair.better != "neither",
                "verdict": sentences.write_verdict(pair),
                "basis": plain(pair.basis),
                "differences": tables.build_difference_table(pair),
                "mcnemar": row_tables.build_mcnemar_table(pair),
                "accuracy": sentences.describe_mcnemar(comparison, pair),
                "agreement": sentences.describe_agreement(comparison, pair),
                "examples": row_tables.build_example_tables(pair, longest_text),
            }
            for pair in comparison.pairs
        ],
        "cost": tables.build_cost_table(comparison),
        "settings": tables.build_setting_table(comparison),
        "methods": sentences.list_methods(comparison),
        "facts": sentences.list_facts(comparison),
    }


def render_console(comparison: Comparison) -> "RenderableType":
    """Return the summary for the terminal: collapsed runs, the verdicts, warnings, the figures of the metrics or of the pairs."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    # rich reads no markup in Text, and `plain` leaves no control character for the terminal to obey.
    parts: list[RenderableType] = [
        Panel(Text(alarm), style="bold red", box=box.HEAVY) for alarm in sentences.list_alarms(comparison)
    ]
    parts += [
        Text.assemble((sentences.title_of(comparison), "bold"), "  ", (plain(comparison.rows), "dim")),
        Text(""),
    ]
    for pair in comparison.pairs:
        parts += [Text(sentences.write_verdict(pair), style="bold"), Text(plain(pair.basis), style="dim")]
    parts += [Text.assemble(("! ", "bold yellow"), plain(warning)) for warning in comparison.warnings]
    if len(comparison.runs) <= MOST_RUNS_IN_CONSOLE:
        pair = comparison.pairs[0]
        differences = tables.build_difference_table(pair)
        parts += [
            _draw_in_console(tables.build_score_table(comparison)),
            # The figures of both stand above; of several tests the first is that of the verdict.
            _draw_in_console(differences, (0, 1, 4, len(differences.columns) - 1)),
        ]
        said = [sentences.describe_agreement(comparison, pair), sentences.describe_mcnemar(comparison, pair)]
        parts += [Text(sentence) for sentence in said if sentence]
    else:
        parts += [
            _draw_in_console(tables.build_metric_table(comparison)),
            _draw_in_console(tables.build_verdict_table(comparison)),
        ]
    return Group(*parts)


def _draw_in_console(shown: Table, columns: Sequence[int] | None = None) -> "ConsoleTable":
    """Return a table for the terminal, which folds what is too long; of some `columns` only where these are given."""
    from rich import box
    from rich.table import Table as ConsoleTable
    from rich.text import Text

    drawn = ConsoleTable(
        box=box.SIMPLE,
        pad_edge=False,
        title=Text(shown.caption, style="dim"),
        title_justify="left",
        caption=Text(shown.note, style="dim") if shown.note else None,
        caption_justify="left",
    )
    kept = columns or range(len(shown.columns))
    for column in kept:
        drawn.add_column(
            Text(shown.columns[column]), justify="right" if shown.align[column] == "r" else "left", overflow="fold"
        )
    for row in shown.rows:
        drawn.add_row(*(Text(row.cells[column]) for column in kept))
    return drawn


def _build_forest(comparison: Comparison) -> dict[str, Any]:
    """Return the verdicts' differences of all pairs on one scale with zero in its middle."""
    figures = [tables.figures_of(pair, pair.differences[0]) for pair in comparison.pairs]
    scale = _choose_scale(figures)
    entries = [
        Entry(
            sentences.title_pair(pair),
            tables.write_difference(pair, pair.differences[0]),
            scale.strip(own),
            "run" if pair.better != "neither" else "ensemble",
        )
        for pair, own in zip(comparison.pairs, figures, strict=True)
    ]
    return {
        "entries": entries,
        "marks": scale.marks(),
        "side": "Right" if comparison.pairs[0].differences[0].higher_is_better else "Left",
    }


def _draw_strips(table: Table) -> list[Strip | None]:
    """Return a strip for each row of differences, all on one scale with a tick at zero."""
    scale = _choose_scale([row.figures for row in table.rows if row.figures])
    return [
        scale.strip(row.figures, ticks=(0.0,)) if row.figures and row.figures[0] is not None else None
        for row in table.rows
    ]


def _choose_scale(figures: list[Figures]) -> Scale:
    """Return a scale with zero in its middle that holds all figures."""
    known = [abs(number) for some in figures for number in some if number is not None]
    reach = 1.06 * max([SMALLEST_REACH, *known])
    return Scale(-reach, reach)
