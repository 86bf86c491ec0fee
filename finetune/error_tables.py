"""The wrong answers of a run as rows of finished strings: confusions, surest mistakes, labels in doubt, near duplicates of train.

Owns which of them stand in which table, and the sentences about them. How a figure is written is in `wording`. Every string is plain
text on one line.
"""

from finetune.anchors import name_place
from finetune.records import Report
from finetune.report_tables import Row, Table
from finetune.wording import (
    count_of,
    format_count,
    format_score_value,
    format_share,
    plain,
    shorten,
)

MOST_CLASSES_IN_MATRIX = 30
CONFUSIONS_SHOWN = 30
ROWS_NAMED = 200


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
            anchor="confusion-table",
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
        anchor="confusion-table",
        is_sortable=False,
    )


def build_confused_tables(report: Report, longest_text: int | None = None) -> list[Table]:
    """Return a table of the surest examples for each direction in which labels were confused, the most frequent first."""
    tables = []
    for pair in report.confused:
        rows = [
            Row((plain(example.row), _cut(example.text, longest_text), format_score_value(example.probability)))
            for example in pair.examples
        ]
        caption = f"{plain(pair.expected)} taken for {plain(pair.predicted)}: {count_of(pair.count, 'row')}"
        tables.append(
            Table(
                caption,
                ("row", "text", "probability"),
                tuple(rows),
                "llr",
                anchor=name_place("confused", pair.expected, pair.predicted),
                texts=(1,),
            )
        )
    return tables


def build_mistake_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the wrong answers given with the highest probability; texts end after `longest_text` characters."""
    rows = [
        Row(
            (
                plain(mistake.row),
                _cut(mistake.text, longest_text),
                plain(mistake.expected),
                plain(mistake.predicted),
                format_score_value(mistake.probability),
            ),
            anchor=name_place("mistake", mistake.row),
        )
        for mistake in report.mistakes
    ]
    return Table(
        "Wrong answers, surest first",
        ("row", "text", "expected", "predicted", "probability"),
        tuple(rows),
        "llllr",
        anchor="surest-mistakes",
        texts=(1,),
    )


def describe_doubts(report: Report) -> list[str]:
    """Return how many labels the model doubts and how those were found; nothing where nobody looked."""
    if report.doubts is None:
        return []
    count = report.doubts.count
    found = (
        f"{count_of(count, 'candidate annotation error')}: the label may be wrong, or the model is."
        if count
        else "No candidate annotation error."
    )
    return [found, f"Method: {plain(report.doubts.method)}."]


def build_doubt_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the test rows whose label the model doubts most."""
    rows = [
        Row(
            (
                plain(doubt.row),
                _cut(doubt.text, longest_text),
                plain(doubt.label),
                format_score_value(doubt.probability_of_label),
                plain(doubt.suggested),
                format_score_value(doubt.probability_of_suggested),
            ),
            anchor=name_place("doubt", doubt.row),
        )
        for doubt in (report.doubts.rows if report.doubts else ())
    ]
    return Table(
        "Candidate annotation errors, most doubted first",
        ("row", "text", "label", "its probability", "suggested", "its probability"),
        tuple(rows),
        "lllrlr",
        anchor="candidate-annotation-errors",
        texts=(1,),
    )


def describe_near_duplicates(report: Report) -> list[str]:
    """Return how many test rows are nearly a train row, and how likeness was measured; nothing where nobody looked."""
    near = report.near_duplicates
    if near is None:
        return []
    looked_at = f"{count_of(near.looked_at, 'test row')} compared with train"
    if not near.count:
        said = f"None of {looked_at} is nearly a train row."
    else:
        said = f"{format_count(near.count)} of {looked_at} {'is' if near.count == 1 else 'are'} nearly a train row"
        right = f"{'was' if near.correct == 1 else 'were'} answered rightly"
        said += "." if near.correct is None else f"; {format_count(near.correct)} of them {right}."
    return [said, f"Likeness: {plain(near.measure)}."]


def build_near_duplicate_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the test rows that are most like a train row, of those answered rightly where answers are right or wrong."""
    found = report.near_duplicates.examples if report.near_duplicates else []
    has_labels = any(near.expected or near.train_label for near in found) or not found
    rows = []
    for near in found:
        label, train_label = ([plain(near.expected)], [plain(near.train_label)]) if has_labels else ([], [])
        cells = [plain(near.row), _cut(near.text, longest_text), *label]
        cells += [plain(near.train_row), _cut(near.train_text, longest_text), *train_label]
        rows.append(Row((*cells, format_score_value(near.similarity)), anchor=name_place("near", near.row)))
    of_all = report.near_duplicates is not None and report.near_duplicates.correct is None
    columns = [["row", "text"], ["label"] * has_labels, ["train row", "train text"], ["train label"] * has_labels]
    names = (*(name for some in columns for name in some), "likeness")
    return Table(
        "Most alike first" if of_all else "Right answers among them, most alike first",
        names,
        tuple(rows),
        "l" * (len(names) - 1) + "r",
        anchor="near-duplicate-table",
        texts=tuple(number for number, name in enumerate(names) if name in ("text", "train text")),
    )


def list_near_duplicate_rows(report: Report) -> str:
    """Return the ids of all test rows that are nearly a train row, or the first of many."""
    rows = [plain(row) for row in report.near_duplicates.rows] if report.near_duplicates else []
    more = len(rows) - ROWS_NAMED
    return ", ".join(rows[:ROWS_NAMED]) + (f" and {format_count(more)} more" if more > 0 else "")


def _cut(text: str, longest: int | None) -> str:
    return shorten(plain(text), longest) if longest else plain(text)
