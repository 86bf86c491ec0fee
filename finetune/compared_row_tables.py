"""The tables of a comparison that speak of single rows of the data: which run is right where, and rows on which runs are apart.

Owns what stands in them. Which rows they are was decided in `compared_rows`. Every string that leaves this module is plain text on one
line.
"""

from typing import Literal

from finetune.anchors import name_place
from finetune.comparison_records import DifferingRow, PairComparison
from finetune.report_tables import Row, Table
from finetune.wording import count_of, format_count, format_score_value, format_signed, plain, shorten


def build_mcnemar_table(pair: PairComparison) -> Table:
    """Return how many rows two runs answered rightly, alone and together."""
    first, second, counted = plain(pair.first), plain(pair.second), pair.mcnemar
    rows = (
        (
            Row((f"{first} right", format_count(counted.both_right), format_count(counted.only_first))),
            Row((f"{first} wrong", format_count(counted.only_second), format_count(counted.both_wrong))),
        )
        if counted
        else ()
    )
    return Table(
        "Rows by which run is right",
        ("rows", f"{second} right", f"{second} wrong"),
        rows,
        "lrr",
        anchor=name_place("mcnemar", pair.first, pair.second),
        is_sortable=False,
    )


def build_example_tables(pair: PairComparison, longest_text: int | None = None) -> list[Table]:
    """Return rows on which two runs differ, a table for each of the runs that is right; texts end after `longest_text` characters."""
    counted = pair.mcnemar
    if counted is None or pair.differing is None:
        return [_build_gap_table(pair, longest_text)] if pair.gaps else []
    of_all: dict[Literal["first", "second", "neither"], tuple[str, int]] = {
        "first": (f"{plain(pair.first)} alone is right", counted.only_first),
        "second": (f"{plain(pair.second)} alone is right", counted.only_second),
        "neither": ("Both are wrong, in different ways", pair.differing - counted.only_first - counted.only_second),
    }
    found = []
    for who, (caption, count) in of_all.items():
        shown = [row for row in pair.examples if row.right == who]
        if shown:
            found.append(
                _build_example_table(pair, who, f"{caption}: {_say_how_many(len(shown), count)}", shown, longest_text)
            )
    return found


def _say_how_many(shown: int, count: int) -> str:
    return count_of(count, "row") if shown == count else f"{format_count(shown)} of {count_of(count, 'row')}"


def _build_example_table(
    pair: PairComparison, who: str, caption: str, shown: list[DifferingRow], longest_text: int | None
) -> Table:
    has_texts = any(row.text for row in pair.examples)
    # The run that is right says what was expected.
    said = [name for name in ("first", "second") if name != who]
    names = {"first": plain(pair.first), "second": plain(pair.second)}
    rows = []
    for row in shown:
        text, answers = plain(row.text), {"first": plain(row.first), "second": plain(row.second)}
        cells = [
            plain(row.row),
            *([shorten(text, longest_text) if longest_text else text] if has_texts else []),
            plain(row.expected),
            *(answers[name] for name in said),
            format_score_value(row.first_probability),
            format_score_value(row.second_probability),
            format_signed(row.gap),
        ]
        rows.append(Row(tuple(cells), anchor=name_place("row", pair.first, pair.second, row.row)))
    columns = (
        "row",
        *(["text"] if has_texts else []),
        "expected",
        *(f"{names[name]} says" for name in said),
        *(f"{name} gives the expected" for name in names.values()),
        "gap",
    )
    return Table(
        caption,
        columns,
        tuple(rows),
        "l" * (len(columns) - 3) + "rrr",
        anchor=name_place("rows", who, pair.first, pair.second),
        texts=(1,) if has_texts else (),
    )


def _build_gap_table(pair: PairComparison, longest_text: int | None) -> Table:
    """Return the rows on which two runs are farthest apart where answers are no classes."""
    has_texts, has_words = any(row.text for row in pair.gaps), any(row.expected for row in pair.gaps)
    names = [plain(pair.first), plain(pair.second)]
    rows = []
    for row in pair.gaps:
        text = plain(row.text)
        cells = [
            plain(row.row),
            *([shorten(text, longest_text) if longest_text else text] if has_texts else []),
            *([plain(row.expected), plain(row.first), plain(row.second)] if has_words else []),
            format_score_value(row.first_loss),
            format_score_value(row.second_loss),
            format_signed(row.gap),
        ]
        rows.append(Row(tuple(cells), anchor=name_place("row", pair.first, pair.second, row.row)))
    columns = (
        "row",
        *(["text"] if has_texts else []),
        *(["expected", *(f"{name} says" for name in names)] if has_words else []),
        *(f"{pair.gap_of}, {name}" for name in names),
        "gap",
    )
    return Table(
        f"Rows on which the two are farthest apart, by {pair.gap_of}",
        columns,
        tuple(rows),
        "l" * (len(columns) - 3) + "rrr",
        anchor=name_place("gaps", pair.first, pair.second),
        texts=(1,) if has_texts else (),
    )
