"""The tables of scores and seeds as rows of finished strings, the same for HTML, Markdown and the terminal.

Owns what a table is, and which scores stand in which row and column; slices and calibration are in `finding_tables`, wrong answers in
`error_tables`. How a figure is written is in `wording`, how a table looks in `render`. Every string is plain text on one line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.anchors import name_place
from finetune.records import Report, Score, SeedSummaryRecord
from finetune.scores import pick
from finetune.wording import (
    count_of,
    find_summary,
    format_count,
    format_range,
    format_score,
    format_score_value,
    format_seconds,
    list_words,
    main_predictor,
    mean_interval,
    metric_title,
    name_collapse,
    plain,
    write_score,
    write_summary,
)

NAMES_IN_A_NOTE = 4
Figures = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        figures: value and interval for a picture of the row, None where there is none to draw.
        ticks: what the baselines reached, for the same picture.
        shades: for each cell the share, 0 to 1, that colours it.
        is_alarming: whether the row must be seen.
        is_flagged: whether it stands out, for better or worse.
        anchor: the id under which the row can be pointed at, empty for none.
        anchors: the same for each cell, where cells have their own.
    """

    cells: tuple[str, ...]
    figures: Figures | None = None
    ticks: tuple[float, ...] = ()
    shades: tuple[float, ...] = ()
    is_alarming: bool = False
    is_flagged: bool = False
    anchor: str = ""
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A caption, column titles, rows.

    Attributes:
        align: l (text) or r (figures) for each column.
        note: what explains the table.
        anchor: the id under which the table can be pointed at, empty for none.
        texts: the columns that hold running text of the data.
        measured: the column beside which the figures of the rows are drawn.
        is_sortable: whether its rows are of one kind, so that another order makes sense.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    align: str
    note: str = ""
    anchor: str = ""
    texts: tuple[int, ...] = ()
    measured: int = 1
    is_sortable: bool = True


def list_main_scores(report: Report, slice_name: str | None = None) -> list[Score]:
    """Return the scores of the model, or of the ensemble of seeds; on every slice where none is named."""
    predictor = main_predictor(report)
    return [score for score in report.scores if score.predictor == predictor and slice_name in (None, score.slice)]


def write_measured(report: Report, score: Score) -> tuple[list[str], Figures]:
    """Return the cells of a score, the mean over seeds first where there are several, and what to draw of it."""
    summary = find_summary(report, score.name, score.slice)
    if not report.seed_summaries:
        return [write_score(score)], (score.value, score.low, score.high)
    if summary is None:
        return ["undefined for some seed", write_score(score)], (score.value, score.low, score.high)
    return [write_summary(summary), write_score(score)], (summary.mean, *mean_interval(summary))


def list_score_columns(report: Report) -> list[str]:
    """Return the titles of the columns that `write_measured` fills."""
    predictor = plain(main_predictor(report))
    return ["mean over seeds", predictor] if report.seed_summaries else [predictor]


def explain_intervals(report: Report, scores: Sequence[Score]) -> str:
    """Return what the brackets of a table of these scores hold."""
    drawn: dict[str, list[Score]] = {}
    for score in scores:
        drawn.setdefault(score.resampling, []).append(score)
    usual = max(drawn, key=lambda kind: len(drawn[kind]), default="rows")
    others = [
        f" Of {_name_scores(some)}, each resample draws {plain(kind)}." for kind, some in drawn.items() if kind != usual
    ]
    rest = "they say nothing of other seeds"
    if report.seed_summaries:
        has_both = any(summary.both_low is not None for summary in report.seed_summaries)
        sources = (
            ", with seeds and rows as its two sources of variance" if has_both else " (Student's t over the seeds)"
        )
        rest = f"after ±, the standard deviation over seeds, they hold the 95 % interval of the mean{sources}"
    of_rows = "the rows" if usual == "rows" else plain(usual)
    return f"Brackets hold 95 % bootstrap intervals over {of_rows}; {rest}.{''.join(others)}"


def _name_scores(scores: Sequence[Score]) -> str:
    """Return which scores these are in few words: the slices where there are several, else the metrics."""
    slices = list(dict.fromkeys(plain(score.slice) for score in scores))
    names = slices if slices != ["all"] else list(dict.fromkeys(metric_title(score.name) for score in scores))
    noun = "slice" if slices != ["all"] else "metric"
    return list_words(names) if len(names) <= NAMES_IN_A_NOTE else count_of(len(names), noun)


def build_score_table(report: Report) -> Table:
    """Return every metric on all test rows beside the baselines."""
    names = list(dict.fromkeys(score.predictor for score in report.baselines))
    scores = list_main_scores(report, "all")
    rows = []
    for score in scores:
        cells, figures = write_measured(report, score)
        rivals = [pick(report.baselines, score.name, predictor=name) for name in names]
        title = metric_title(score.name) + ("" if score.higher_is_better else " ↓")
        rows.append(
            Row(
                (title, *cells, *(write_score(rival) for rival in rivals), format_count(score.n)),
                figures,
                tuple(rival.value for rival in rivals if rival and rival.value is not None),
                anchor=name_place("score", score.name),
            )
        )
    columns = ("metric", *list_score_columns(report), *map(plain, names), "n")
    return Table(
        "Every metric on all test rows",
        columns,
        tuple(rows),
        "l" * (len(columns) - 1) + "r",
        f"{explain_intervals(report, scores)} Of a metric with ↓, less is better.",
        "every-score",
    )


def describe_seeds(report: Report) -> list[str]:
    """Return what is to be said of several seeds beside the table of them: how many collapsed, and which one was saved."""
    if len(report.seeds) < 2:
        return []
    collapsed = [str(seed.seed) for seed in report.seeds if seed.collapsed_to is not None]
    of_all = f"of {count_of(len(report.seeds), 'seed')}"
    fate = (
        f"{len(collapsed)} {of_all} collapsed to one {name_collapse(report)} (seed {list_words(collapsed)}); none is left out of any "
        "figure."
        if collapsed
        else f"None {of_all} collapsed to one {name_collapse(report)}."
    )
    # Likelihoods of text differ from row to row anyway.
    fates = [] if report.language else [fate]
    return [*fates, f"The saved model is that of seed {report.saved_seed}: {plain(report.saved_because)}."]


def build_seed_table(report: Report) -> Table:
    """Return the outcome of each seed."""
    rows = []
    for seed in report.seeds:
        own = pick(report.scores, report.primary_metric, predictor=f"seed {seed.seed}")
        trained = format_seconds(seed.train_seconds) if seed.train_seconds else "none"
        fate = f"yes, to {plain(seed.collapsed_to)}" if seed.collapsed_to is not None else "no"
        rows.append(
            Row(
                (
                    str(seed.seed),
                    write_score(own) if own else format_score(seed.score, metric=report.primary_metric),
                    _write(seed.dev_score, report.primary_metric),
                    *([] if report.language else [fate]),
                    trained,
                    _write(seed.final_loss),
                ),
                is_alarming=seed.collapsed_to is not None,
                anchor=name_place("seed", str(seed.seed)),
            )
        )
    title, fates = metric_title(report.primary_metric), [] if report.language else ["collapsed"]
    columns = ("seed", title, "dev score", *fates, "training", "final loss")
    return Table("Each seed", columns, tuple(rows), f"llr{'l' * len(fates)}rr", anchor="each-seed")


def _list_summaries(report: Report) -> list[SeedSummaryRecord]:
    return [entry for entry in report.seed_summaries if entry.slice == "all"]


def build_summary_table(report: Report) -> Table:
    """Return mean, spread, extremes and the intervals over seeds of every metric on all rows."""
    entries = _list_summaries(report)
    has_rows = any(entry.rows_low is not None or entry.both_low is not None for entry in entries)
    rows = []
    for entry in entries:
        ranges = [(entry.low, entry.high)]
        if has_rows:
            ranges += [(entry.rows_low, entry.rows_high), (entry.both_low, entry.both_high)]
        spread = f"{format_score_value(entry.mean, entry.name)} ± {_write(entry.standard_deviation, entry.name)}"
        cells = (metric_title(entry.name), spread, *(_write_range(*ends, entry.name) for ends in ranges))
        extremes = (_write(entry.minimum, entry.name), _write(entry.maximum, entry.name), format_count(entry.n))
        rows.append(Row((*cells, *extremes), anchor=name_place("over-seeds", entry.name)))
    sources = ("from seeds", "from rows", "from both") if has_rows else ("from seeds",)
    note = (
        "After ± stands the standard deviation over the seeds. The intervals are 95 % intervals of the mean. From seeds: Student's t, "
        "for other seeds on the same rows."
    )
    if has_rows:
        note += (
            " From rows: bootstrap, for the same seeds on other rows. From both: seeds and rows as two sources of variance, for other "
            "seeds on other rows."
        )
    return Table(
        "Over the seeds, all test rows",
        ("metric", "mean ± deviation", *sources, "min", "max", "seeds"),
        tuple(rows),
        "ll" + "l" * len(sources) + "rrr",
        note,
        "over-seeds",
    )


def build_value_table(report: Report) -> Table:
    """Return every value that the means over seeds are made of."""
    entries = _list_summaries(report)
    rows = [
        Row((str(seed.seed), *(format_score_value(entry.values[number], entry.name) for entry in entries)))
        for number, seed in enumerate(report.seeds)
        if entries
    ]
    columns = ("seed", *(metric_title(entry.name) for entry in entries))
    return Table(
        "Every metric of each seed, all test rows", columns, tuple(rows), "l" + "r" * len(entries), anchor="every-seed"
    )


def _write(value: float | None, metric: str = "") -> str:
    return "–" if value is None else format_score_value(value, metric)


def _write_range(low: float | None, high: float | None, metric: str) -> str:
    return "–" if low is None or high is None else format_range(low, high, metric)
