"""What a report has in the place of a confusion matrix where answers are no classes, as rows of finished strings.

Owns the tables of numbers, of sets of labels and of documents, and the sentences about them. Wrong classes are `error_tables`. Every
string is plain text on one line.
"""

from collections.abc import Sequence

from finetune.anchors import name_place
from finetune.findings import DocumentLoss, WrongLabels
from finetune.records import Report
from finetune.report_tables import Row, Table
from finetune.wording import (
    count_of,
    format_count,
    format_score,
    format_score_value,
    format_share,
    format_signed,
    list_words,
    main_predictor,
    plain,
    shorten,
)

NONE = "none"


def describe_asked(report: Report) -> list[str]:
    """Return what a language model was asked, which its perplexity speaks of; nothing for other kinds of answers."""
    found = report.language
    if found is None:
        return []
    rows = f"{count_of(found.tokens, 'token')} of {count_of(found.rows, 'row')} are predicted"
    context = f"at most {count_of(found.context, 'token')} at once" if found.context else "whole rows"
    if found.masked_share is not None:
        asked = (
            f"{rows}, each of which was masked with a probability of {format_share(found.masked_share)}; the model sees those on "
            f"both sides, {context}."
        )
        compared = "It is no likelihood of a text, and can't be compared with that of a causal model or of other masks."
    else:
        asked = f"{rows}, each from those before it; the model sees {context}."
        compared = "A longer context, or another tokenizer, gives another figure for the same text; bits per byte don't depend on tokens."
    names = {score.name for score in report.scores}
    if "perplexity" not in names:
        return [asked]
    return [asked, f"Perplexity is e to the mean loss over these tokens. {compared}"]


def build_document_tables(report: Report, longest_text: int | None = None) -> list[Table]:
    """Return the rows that a language model found hardest, and those that it found easiest."""
    if report.language is None:
        return []
    least = report.language.fewest_tokens
    note = f"Of rows with at least {format_count(least)} predicted tokens." if least > 1 else ""
    return [
        _build_document_table(caption, anchor, note, documents, longest_text)
        for caption, anchor, documents in (
            ("Hardest rows, highest loss per token first", "hardest-rows", report.language.hardest),
            ("Easiest rows, lowest loss per token first", "easiest-rows", report.language.easiest),
        )
        if documents
    ]


def _build_document_table(
    caption: str, anchor: str, note: str, documents: Sequence[DocumentLoss], longest_text: int | None
) -> Table:
    rows = [
        Row(
            (
                plain(document.row),
                _cut(document.text, longest_text),
                format_score_value(document.loss),
                format_score_value(document.token_accuracy),
                format_count(document.tokens),
            ),
            anchor=name_place(anchor, document.row),
        )
        for document in documents
    ]
    columns = ("row", "beginning", "loss per token", "share right", "tokens")
    return Table(caption, columns, tuple(rows), "llrrr", note, f"table-{anchor}", texts=(1,))


def build_number_error_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the rows whose predicted number is farthest from the expected one."""
    rows = [
        Row(
            (
                plain(error.row),
                _cut(error.text, longest_text),
                format_score_value(error.expected),
                format_score_value(error.predicted),
                format_signed(error.difference),
            ),
            anchor=name_place("error", error.row),
        )
        for error in (report.regression.errors if report.regression else ())
    ]
    columns = ("row", "text", "expected", "predicted", "difference")
    return Table("Largest errors first", columns, tuple(rows), "llrrr", anchor="largest-errors", texts=(1,))


def describe_scatter(report: Report) -> str:
    """Return how the picture of numbers is to be read; empty where there is none."""
    if report.regression is None:
        return ""
    rows = sum(point.n for point in report.regression.points)
    gathered = (
        f" {count_of(rows, 'row')} are drawn as {count_of(len(report.regression.points), 'point')}: rows that lie close together are one, "
        "the larger the more they are."
        if rows > len(report.regression.points)
        else ""
    )
    whose = f" They are those of the {plain(main_predictor(report))}." if len(report.seeds) > 1 else ""
    return f"On the dashed line, a prediction is what was expected; above it the model says too much, below it too little.{gathered}{whose}"


def build_label_score_table(report: Report) -> Table:
    """Return how well each label of several is told, by itself."""
    rows = [
        Row(
            (
                plain(label.label),
                format_count(label.positives),
                format_count(label.predicted),
                format_score(label.f1, label.f1_low, label.f1_high),
                _write(label.precision),
                _write(label.recall),
                _write(label.average_precision),
            ),
            (label.f1, label.f1_low, label.f1_high) if label.f1 is not None else None,
            anchor=name_place("label", label.label),
        )
        for label in (report.multilabel.labels if report.multilabel else ())
    ]
    columns = ("label", "rows", "predicted", "F1", "precision", "recall", "average precision")
    note = "Brackets hold 95 % bootstrap intervals. A dash: the figure has no value, since no row has the label or none is given it."
    return Table("Each label by itself", columns, tuple(rows), "lrrlrrr", note, "each-label", measured=3)


def build_wrong_label_table(report: Report, longest_text: int | None = None) -> Table:
    """Return the rows with most wrong labels."""
    rows = [
        Row(
            (
                plain(wrong.row),
                _cut(wrong.text, longest_text),
                _name(wrong.expected),
                _name(wrong.missed),
                _name(wrong.added),
                format_count(_count_wrong(wrong)),
            ),
            anchor=name_place("wrong", wrong.row),
        )
        for wrong in (report.multilabel.rows if report.multilabel else ())
    ]
    columns = ("row", "text", "expected", "missed", "wrongly given", "wrong")
    return Table("Rows with most wrong labels", columns, tuple(rows), "lllllr", anchor="most-wrong-labels", texts=(1,))


def describe_right_rows(report: Report) -> str:
    """Return how many rows have all labels right; empty where a row has one label."""
    found = report.multilabel
    if found is None:
        return ""
    rows = next(split.rows for split in report.data.splits if split.part == "test")
    return f"{format_count(found.right)} of {count_of(rows, 'test row')} {'has' if found.right == 1 else 'have'} no wrong label."


def _count_wrong(wrong: WrongLabels) -> int:
    return len(wrong.missed) + len(wrong.added)


def _name(labels: Sequence[str]) -> str:
    return list_words([plain(label) for label in labels]) or NONE


def _write(value: float | None) -> str:
    return "–" if value is None else format_score_value(value)


def _cut(text: str, longest: int | None) -> str:
    return shorten(plain(text), longest) if longest else plain(text)
