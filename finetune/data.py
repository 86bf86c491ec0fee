"""The rows of a run: read strictly, labels mapped, cut into train, dev and test.

Owns the way from located files to splits. Finding the files is `sources`, reading one `readers`, judging the rows
`data_checks`. Nothing is dropped, altered or reordered that the recipe did not ask for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data_checks import build_split_record, find_shared_rows
from finetune.errors import DataError, suggest
from finetune.labels import LabelSet, build_label_set
from finetune.readers import Table, open_table, place
from finetune.recipe import Recipe
from finetune.records import DataRecord, SharedRows
from finetune.sources import PARTS, LocatedData, locate_data
from finetune.splits import carve, draw_rows
from finetune.task import Layout, Part, Task

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_A_CHUNK = 50_000
DEFAULT_DEV_FRACTION = 0.1


@dataclass(frozen=True)
class Split:
    """Examples that play one part.

    Attributes:
        examples: columns `row` (`<part>/<number>`), `text`, `label` (id), and where stated `text_pair`, `id`, `group`, slices.
        origin: the files, or the split it was carved from.
        source_rows: rows of those files, before any were drawn or carved.
    """

    part: Part
    examples: "Dataset"
    origin: str
    source_rows: int


@dataclass(frozen=True)
class TaskData:
    """All splits of a run with their label names and the record of what was found."""

    splits: Mapping[Part, Split]
    label_names: tuple[str, ...]
    slice_columns: tuple[str, ...]
    record: DataRecord


def load_data(recipe: Recipe, task: Task) -> TaskData:
    """Return the rows of a recipe, cut and checked.

    Raises:
        FinetuneError: data missing, unavailable, or wrong, with file:row:column.
    """
    located = locate_data(recipe, task)
    wanted = [part for part in PARTS if part in located.files]
    if recipe.train is None:
        wanted = wanted[-1:]  # only measured: the test, or dev in its place
    label_set = build_label_set(recipe, task)
    splits: dict[Part, Split] = {}
    slice_columns: tuple[str, ...] = ()
    # Slices are those of the test; where none is supplied, its rows come from another part.
    supplier = next(part for part in ("test", "dev", "train") if part in wanted)
    for part in wanted:
        splits[part], label_set, found = _load_part(part, located, recipe, label_set)
        if part == supplier:
            slice_columns = found
    _refuse_missing_slices(recipe, slice_columns, located.files[supplier][0], located.layout)
    _refuse_one_class(splits, label_set)
    splits = _cut_test(splits, recipe)
    splits, dropped = _drop_train_rows_in_test(splits, recipe)
    splits, selection = _cut_dev(splits, recipe)
    _refuse_one_class(splits, label_set)
    shared = [
        SharedRows(part=part, rows=find_shared_rows(splits["train"].examples, splits[part].examples))
        for part in ("dev", "test")
        if part in splits and "train" in splits
    ]
    record = DataRecord(
        task=task.name,
        source=located.origin,
        licence=located.licence,
        labels=list(label_set.names),
        splits=[
            build_split_record(split.part, split.examples, split.origin, label_set.names) for split in splits.values()
        ],
        shared_with_train=[entry for entry in shared if entry.rows],
        dropped_train_rows=dropped,
        selection=selection,
    )
    return TaskData(splits, label_set.names, slice_columns, record)


def _load_part(
    part: Part, located: LocatedData, recipe: Recipe, label_set: LabelSet
) -> tuple[Split, LabelSet, tuple[str, ...]]:
    """Read the files of one part into a split whose rows are numbered through from 0."""
    import pyarrow as pa
    from datasets import Dataset

    chunks: list[pa.Table] = []
    slice_columns: tuple[str, ...] = ()
    for path in located.files[part]:
        table = open_table(path, header=located.layout.header, delimiter=located.layout.delimiter)
        columns, slice_columns = _find_columns(table, located.layout, recipe)
        names = tuple(columns)
        positions = [columns[name] for name in names]
        cells: dict[str, list[str]] = {name: [] for name in names}
        lines: list[int] = []
        for number, row in table.rows:
            for name, position in zip(names, positions, strict=True):
                cell = row[position]
                if cell is None:
                    raise DataError(
                        f"{place(path, number, table.columns[position])}: the cell is null, text is expected"
                    )
                cells[name].append(cell)
            lines.append(number)
            if len(lines) == ROWS_A_CHUNK:
                label_set = _append(chunks, cells, lines, path, located.layout, label_set)
        label_set = _append(chunks, cells, lines, path, located.layout, label_set)
    label_set = label_set.freeze()
    merged = pa.concat_tables(chunks)
    labels = label_set.ids_of(merged["label"].to_pylist())
    merged = merged.set_column(merged.schema.get_field_index("label"), "label", pa.array(labels, pa.int64()))
    merged = merged.append_column("row", pa.array([f"{part}/{number}" for number in range(len(merged))]))
    origin = " + ".join(path.name for path in located.files[part])
    return Split(part, Dataset(merged), origin, len(merged)), label_set, slice_columns


def _append(
    chunks: list, cells: dict[str, list[str]], lines: list[int], path: Path, layout: Layout, label_set: LabelSet
) -> LabelSet:
    """Move the rows read so far into Arrow memory, a byte a character instead of an object a cell."""
    import pyarrow as pa

    label_set = label_set.check(cells["label"], lines, path, layout.label)
    chunks.append(pa.table({name: pa.array(values, pa.large_string()) for name, values in cells.items()}))
    for values in cells.values():
        values.clear()
    lines.clear()
    return label_set


def _find_columns(table: Table, layout: Layout, recipe: Recipe) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return {our name: position} of the columns in use, and the names of those that are slices."""
    stated = {
        "text": layout.text,
        "label": layout.label,
        "text_pair": layout.text_pair,
        "id": layout.id,
        "group": layout.group,
    }
    found = {}
    for name, column in stated.items():
        if column is None:
            continue
        found[name] = _position(table, column, f"data.columns.{name}")
    wanted = {**layout.slices, **{column: column for column in recipe.evaluate.slices}}
    slices = {name: table.columns.index(column) for name, column in wanted.items() if column in table.columns}
    return found | {f"slice:{name}": position for name, position in slices.items()}, tuple(slices)


def _refuse_missing_slices(recipe: Recipe, found: Sequence[str], path: Path, layout: Layout) -> None:
    missing = [column for column in recipe.evaluate.slices if column not in found]
    if missing:
        _position(open_table(path, header=layout.header, delimiter=layout.delimiter), missing[0], "evaluate.slices")


def _position(table: Table, column: str, key: str) -> int:
    if column not in table.columns:
        # A quoted CSV header may hold line ends, and a message is one line.
        there = ", ".join(" ".join(name.split()) for name in table.columns[:20])
        aside = f"; not text are {', '.join(table.left_out)}" if table.left_out else ""
        raise DataError(
            f"{place(table.path)}: no column '{column}' ({key}), found are {there}{suggest(column, table.columns)}{aside}"
        )
    return table.columns.index(column)


def _refuse_one_class(splits: Mapping[Part, Split], label_set: LabelSet) -> None:
    if "train" not in splits or len(set(splits["train"].examples["label"])) > 1:
        return
    only = label_set.names[splits["train"].examples["label"][0]]
    raise DataError(
        f"{splits['train'].origin}: every train row is labelled '{only}', and from one class nothing can be learnt"
    )


def _cut_test(splits: dict[Part, Split], recipe: Recipe) -> dict[Part, Split]:
    """Give the test its rows: a supplied test stays, else dev plays test, else it is carved; then draw as many as asked for."""
    data = recipe.data
    splits = dict(splits)
    if "test" not in splits and "dev" in splits:
        splits["test"] = replace(splits.pop("dev"), part="test")
    if "test" not in splits:
        splits["train"], splits["test"] = _carve_split(splits["train"], "test", data.test_fraction, data.split_seed)
    for part, rows in (("train", data.max_train_rows), ("test", data.max_test_rows)):
        if part in splits and rows is not None:
            splits[part] = replace(splits[part], examples=draw_rows(splits[part].examples, rows, data.split_seed))
    return splits


def _cut_dev(splits: dict[Part, Split], recipe: Recipe) -> tuple[dict[Part, Split], str]:
    """Carve dev where something needs it and none is supplied; return what plays dev, in words."""
    data = recipe.data
    if "dev" in splits:
        return splits, f"dev: {splits['dev'].origin}, supplied"
    if "train" not in splits or not recipe.needs_dev:
        return splits, "nothing was selected, so no rows play dev"
    fraction = DEFAULT_DEV_FRACTION if data.dev_fraction is None else data.dev_fraction
    whole = splits["train"]
    _, dev = _carve_split(whole, "dev", fraction, data.split_seed)
    # A text that is reported on may be trained on, as published numbers do, but must not select.
    in_test = set(find_shared_rows(splits["test"].examples, dev.examples))
    chosen = set(dev.examples["row"]) - in_test
    if not chosen:
        raise DataError(
            f"{whole.origin}: every row carved for dev stands in the test too, so nothing is left to select on; "
            "name dev rows in data.path"
        )
    is_dev = [row in chosen for row in whole.examples["row"]]
    train = replace(whole, examples=whole.examples.select([n for n, is_in in enumerate(is_dev) if not is_in]))
    dev = replace(dev, examples=whole.examples.select([n for n, is_in in enumerate(is_dev) if is_in]))
    selection = f"dev: {fraction:.0%} of train, carved with split_seed {data.split_seed}"
    return {"train": train, "dev": dev, "test": splits["test"]}, selection


def _carve_split(split: Split, part: Part, fraction: float, seed: int) -> tuple[Split, Split]:
    kept, carved = carve(split.examples, fraction, seed)
    return replace(split, examples=kept), Split(part, carved, f"carved from {split.origin}", split.source_rows)


def _drop_train_rows_in_test(splits: dict[Part, Split], recipe: Recipe) -> tuple[dict[Part, Split], int]:
    if not recipe.data.drop_train_rows_in_test or "train" not in splits:
        return splits, 0
    train = splits["train"].examples
    dropped = set(find_shared_rows(splits["test"].examples, train))
    kept = train.select([number for number, row in enumerate(train["row"]) if row not in dropped])
    if not len(kept):
        raise DataError(
            f"{splits['train'].origin}: the text of every train row stands in the test, so "
            "data.drop_train_rows_in_test leaves none"
        )
    return splits | {"train": replace(splits["train"], examples=kept)}, len(dropped)


def texts_of(examples: "Dataset") -> Sequence[tuple[str, ...]]:
    """Return the text, or the pair of texts, of each row."""
    texts = list(examples["text"])
    if "text_pair" not in examples.column_names:
        return [(text,) for text in texts]
    return list(zip(texts, examples["text_pair"], strict=True))


def name_rows(examples: "Dataset") -> list[str]:
    """Return how a report names each row: its row id, and the value of the id column where there is one."""
    if "id" not in examples.column_names:
        return list(examples["row"])
    return [f"{row} ({name})" for row, name in zip(examples["row"], examples["id"], strict=True)]


def groups_of(examples: "Dataset") -> list[str] | None:
    """Return the group of each row, or None where the data has no group column."""
    return list(examples["group"]) if "group" in examples.column_names else None
