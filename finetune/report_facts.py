"""What a report says of the data and of the run itself, as rows of finished strings.

Owns which of these facts are shown, and their names. Scores are in `report_tables`, how a figure is written is in `wording`.
"""

from collections.abc import Iterable, Sequence

from finetune.records import Provenance, Report, SplitRecord
from finetune.report_tables import Row, Table
from finetune.wording import (
    NOT_MEASURED,
    count_of,
    format_count,
    format_score,
    format_seconds,
    format_share,
    metric_title,
    plain,
)

SHORT_FINGERPRINT = 12


def _by_split(splits: Sequence[SplitRecord], facts: Iterable[tuple[str, list[str]]], caption: str) -> Table:
    return Table(
        caption,
        ("split", *(split.part for split in splits)),
        tuple(Row((name, *cells)) for name, cells in facts),
        "l" + "r" * len(splits),
        anchor="splits",
        is_sortable=False,
    )


def build_split_table(report: Report) -> Table:
    """Return what the checks found in each split."""
    splits = report.data.splits
    shared = {entry.part: format_count(len(entry.rows)) for entry in report.data.shared_with_train}

    def count(value: int | None) -> str:
        return NOT_MEASURED if value is None else format_count(value)

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:,.4g}"

    return _by_split(
        splits,
        [
            ("rows", [format_count(split.rows) for split in splits]),
            ("origin", [plain(split.origin) for split in splits]),
            (
                "rows shared with train",
                ["–" if split.part == "train" else shared.get(split.part, "0") for split in splits],
            ),
            ("rows that repeat an earlier text", [format_count(split.duplicates) for split in splits]),
            *(
                [("texts with more than one label", [count(split.contradictions) for split in splits])]
                if any(split.contradictions is not None for split in splits)
                else []
            ),
            *(
                [
                    ("lowest label", [number(split.lowest) for split in splits]),
                    ("mean label", [number(split.mean) for split in splits]),
                    ("highest label", [number(split.highest) for split in splits]),
                ]
                if any(split.mean is not None for split in splits)
                else []
            ),
            ("empty rows", [format_count(split.empty) for split in splits]),
            ("rows cut at the token limit", [count(split.truncated) for split in splits]),
            (
                "mean tokens",
                [NOT_MEASURED if split.mean_tokens is None else f"{split.mean_tokens:.1f}" for split in splits],
            ),
            ("longest, in tokens", [count(split.longest_tokens) for split in splits]),
            ("fingerprint", [split.fingerprint[:SHORT_FINGERPRINT] for split in splits]),
        ],
        "What stands in each split",
    )


def build_label_table(report: Report) -> Table:
    """Return the rows of each label in each split."""
    splits = report.data.splits
    rows = []
    for label in report.data.labels:
        counts = [(split.labels.get(label, 0), split.rows) for split in splits]
        shares = tuple(count / total if total else 0.0 for count, total in counts)
        rows.append(
            Row(
                (
                    plain(label),
                    *(
                        f"{format_count(count)} ({format_share(share)})"
                        for (count, _), share in zip(counts, shares, strict=True)
                    ),
                ),
                shades=(0.0, *shares),
            )
        )
    columns = ("label", *(split.part for split in splits))
    return Table("Label balance", columns, tuple(rows), "l" + "r" * len(splits), anchor="labels")


def list_data_facts(report: Report) -> list[tuple[str, str]]:
    """Return where the data comes from and how it was cut."""
    data = report.data
    return [
        ("source", plain(data.source)),
        ("licence", plain(data.licence)),
        ("selection", plain(data.selection)),
        ("train rows dropped because they stand in the test", format_count(data.dropped_train_rows)),
        *(("note", plain(note)) for note in data.notes),
    ]


def list_fingerprints(report: Report) -> list[tuple[str, str]]:
    """Return the full fingerprints, and the rows that stand in train too."""
    return [
        *((f"fingerprint of {split.part} (SHA-256)", plain(split.fingerprint)) for split in report.data.splits),
        *(
            (f"{entry.part} rows that stand in train too", ", ".join(map(plain, entry.rows)) or "none")
            for entry in report.data.shared_with_train
        ),
    ]


def describe_lineage(made: Provenance) -> str:
    """Return the runs that made a checkpoint, the last first, and what the oldest of them began as."""
    steps = []
    for run in reversed(made.lineage):
        score = format_score(run.score, metric=run.metric)
        rows = count_of(run.n, "row")
        steps.append(f"run {plain(run.run)} ({plain(run.task)}: {metric_title(run.metric)} {score} on {rows})")
    return ", itself from ".join([*steps, plain(made.lineage[0].checkpoint)])


def list_provenance(report: Report) -> list[tuple[str, str]]:
    """Return everything needed to judge, and to repeat, the run."""
    made = report.provenance

    def rate(value: float | None) -> str:
        return NOT_MEASURED if value is None else f"{value:,.1f} per second"

    return [
        ("command", plain(made.command)),
        ("started", plain(made.started)),
        ("whole run", format_seconds(made.seconds)),
        ("training", format_seconds(made.train_seconds) if made.train_seconds else "none"),
        ("examples", rate(made.examples_per_second)),
        ("tokens, padding not counted", rate(made.tokens_per_second)),
        (
            "padding",
            NOT_MEASURED
            if made.padding_share is None
            else f"{format_share(made.padding_share)} of the tokens computed",
        ),
        ("peak memory", f"{made.peak_memory_megabytes:,.0f} MB"),
        ("device", plain(made.device)),
        ("processes", format_count(made.processes)),
        ("threads", format_count(made.threads)),
        ("precision", plain(made.precision)),
        *(("loading", plain(note)) for note in made.notes),
        ("parameters", format_count(made.parameters)),
        ("checkpoint", plain(made.checkpoint)),
        *([("began as", describe_lineage(made))] if made.lineage else []),
        ("checkpoint SHA-256", plain(made.checkpoint_sha256)),
        ("code", plain(made.git)),
        ("versions", ", ".join(f"{plain(name)} {plain(version)}" for name, version in made.versions.items())),
        ("saved model", plain(f"seed {report.saved_seed}, {report.saved_because}")),
    ]
