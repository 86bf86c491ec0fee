"""The tables of a report as rows of finished strings, the same for HTML, Markdown and the terminal.

Owns which figures stand in which row and column. How a figure is written is in `wording`, how a table looks in `render`. Every
string that leaves this module is plain text on one line.
"""

from dataclasses import dataclass

from finetune.records import Report, Score
from finetune.scores import pick
from finetune.wording import (
    find_rivals,
    find_summary,
    format_count,
    format_score,
    format_score_value,
    format_seconds,
    format_share,
    main_predictor,
    metric_title,
    plain,
    shorten,
    write_score,
    write_summary,
)

MOST_CLASSES_IN_MATRIX = 30
CONFUSIONS_SHOWN = 30
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
    """

    cells: tuple[str, ...]
    figures: Figures | None = None
    ticks: tuple[float, ...] = ()
    shades: tuple[float, ...] = ()
    is_alarming: bool = False
    is_flagged: bool = False
    anchor: str = ""


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


def _main_scores(report: Report, slice_name: str | None = None) -> list[Score]:
    predictor = main_predictor(report)
    return [score for score in report.scores if score.predictor == predictor and slice_name in (None, score.slice)]


def _measured(report: Report, score: Score) -> tuple[list[str], Figures]:
    """Return the cells of a score, the mean over seeds first where there are several, and what to draw of it."""
    summary = find_summary(report, score.name, score.slice)
    if not report.seed_summaries:
        return [write_score(score)], (score.value, score.low, score.high)
    if summary is None:
        return ["undefined for some seed", write_score(score)], (score.value, score.low, score.high)
    return [write_summary(summary), write_score(score)], (summary.mean, summary.low, summary.high)


def _score_columns(report: Report) -> list[str]:
    predictor = plain(main_predictor(report))
    return ["mean over seeds", predictor] if report.seed_summaries else [predictor]


def _explain(report: Report) -> str:
    rest = "they say nothing of other seeds"
    if report.seed_summaries:
        rest = "after ±, the standard deviation over seeds, they hold the 95 % t-interval of the mean"
    return f"Brackets hold 95 % bootstrap intervals over the rows; {rest}. Of a metric with ↓, less is better."


def build_score_table(report: Report) -> Table:
    """Return every metric on all test rows beside the baselines."""
    names = list(dict.fromkeys(score.predictor for score in report.baselines))
    rows = []
    for score in _main_scores(report, "all"):
        cells, figures = _measured(report, score)
        rivals = [pick(report.baselines, score.name, predictor=name) for name in names]
        title = metric_title(score.name) + ("" if score.higher_is_better else " ↓")
        rows.append(
            Row(
                (title, *cells, *(write_score(rival) for rival in rivals), format_count(score.n)),
                figures,
                tuple(rival.value for rival in rivals if rival and rival.value is not None),
            )
        )
    columns = ("metric", *_score_columns(report), *map(plain, names), "n")
    return Table(
        "Every metric on all test rows", columns, tuple(rows), "l" + "l" * (len(columns) - 2) + "r", _explain(report)
    )


def build_slice_table(report: Report) -> Table:
    """Return the primary metric on all rows and on each slice."""
    whole = tuple(rival.value for rival in find_rivals(report, report.primary_metric) if rival.value is not None)
    rows = []
    for score in _main_scores(report):
        if score.name == report.primary_metric:
            cells, figures = _measured(report, score)
            rows.append(
                Row((plain(score.slice), *cells, format_count(score.n)), figures, whole if score.slice == "all" else ())
            )
    columns = ("slice", *_score_columns(report), "n")
    return Table(
        f"{metric_title(report.primary_metric)} by slice", columns, tuple(rows), "l" * (len(columns) - 1) + "r"
    )


def build_every_slice_table(report: Report) -> Table:
    """Return every metric on each slice."""
    rows = [
        Row((plain(score.slice), metric_title(score.name), *_measured(report, score)[0], format_count(score.n)))
        for score in _main_scores(report)
        if score.slice != "all"
    ]
    columns = ("slice", "metric", *_score_columns(report), "n")
    return Table("Every metric by slice", columns, tuple(rows), "l" * (len(columns) - 1) + "r")


def build_seed_table(report: Report) -> Table:
    """Return the outcome of each seed."""
    rows = []
    for seed in report.seeds:
        own = pick(report.scores, report.primary_metric, predictor=f"seed {seed.seed}")
        trained = format_seconds(seed.train_seconds) if seed.train_seconds else "none"
        rows.append(
            Row(
                (
                    str(seed.seed),
                    write_score(own) if own else format_score(seed.score),
                    _write(seed.dev_score),
                    f"yes, to {plain(seed.collapsed_to)}" if seed.collapsed_to is not None else "no",
                    trained,
                    _write(seed.final_loss),
                ),
                is_alarming=seed.collapsed_to is not None,
            )
        )
    columns = ("seed", metric_title(report.primary_metric), "dev score", "collapsed", "training", "final loss")
    return Table("Each seed", columns, tuple(rows), "llrlrr")


def build_summary_table(report: Report) -> Table:
    """Return mean, spread and extremes over seeds of every metric on all rows."""
    rows = [
        Row(
            (
                metric_title(entry.name),
                write_summary(entry),
                format_score_value(entry.minimum),
                format_score_value(entry.maximum),
                format_count(entry.n),
            )
        )
        for entry in report.seed_summaries
        if entry.slice == "all"
    ]
    return Table(
        "Over the seeds, all test rows",
        ("metric", "mean ± standard deviation (interval of the mean)", "min", "max", "seeds"),
        tuple(rows),
        "llrrr",
    )


def build_confusion_table(report: Report) -> Table:
    """Return the confusion matrix, or its most frequent confusions where it is too large to read."""
    assert report.confusion is not None
    labels = [plain(label) for label in report.confusion.labels]
    counts = report.confusion.counts
    if len(labels) > MOST_CLASSES_IN_MATRIX:
        pairs = [
            (count, expected, predicted)
            for expected, row in enumerate(counts)
            for predicted, count in enumerate(row)
            if count and expected != predicted
        ]
        pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
        return Table(
            "Most frequent confusions",
            ("expected", "predicted", "rows"),
            tuple(
                Row((labels[expected], labels[predicted], format_count(count)))
                for count, expected, predicted in pairs[:CONFUSIONS_SHOWN]
            ),
            "llr",
        )
    rows = [
        Row(
            (
                label,
                *map(format_count, row),
                format_count(sum(row)),
                format_share(row[number] / sum(row)) if sum(row) else "–",
            ),
            shades=(0.0, *(count / sum(row) if sum(row) else 0.0 for count in row), 0.0, 0.0),
        )
        for number, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    return Table(
        "Rows by expected label, columns by predicted label",
        ("expected \\ predicted", *labels, "rows", "recall"),
        tuple(rows),
        "l" + "r" * (len(labels) + 2),
    )


def build_mistake_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the wrong answers given with the highest probability; texts end after `longest_text` characters."""
    rows = [
        Row(
            (
                plain(mistake.row),
                shorten(plain(mistake.text), longest_text) if longest_text else plain(mistake.text),
                plain(mistake.expected),
                plain(mistake.predicted),
                format_score_value(mistake.probability),
            )
        )
        for mistake in report.mistakes
    ]
    return Table(
        "Wrong answers, surest first",
        ("row", "text", "expected", "predicted", "probability"),
        tuple(rows),
        "llllr",
        texts=(1,),
    )


def _write(value: float | None) -> str:
    return "–" if value is None else format_score_value(value)
