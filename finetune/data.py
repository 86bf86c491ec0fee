"""The rows of a run: read strictly, cut into train, dev and test.

Owns the way from located files to splits. Finding the files is `sources`, reading them `examples`, judging the rows
`data_checks`. Nothing is dropped, altered or reordered that the recipe or the task did not ask for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.data_checks import build_split_record, find_shared_rows, is_shared, read_column, read_labels
from finetune.errors import DataError
from finetune.examples import order_pairs, read_part, refuse_missing_slices
from finetune.labels import Labels, build_labels
from finetune.layouts import LEARNS_FROM_DOCUMENTS, MAKES_PAIRS
from finetune.recipe import Recipe
from finetune.records import DataRecord, SharedRows
from finetune.row_store import keep_rows, read_rows
from finetune.sources import PARTS, LocatedData, locate_data
from finetune.splits import choose_carved, draw_rows
from finetune.task import Part, Task
from finetune.text_files import show

if TYPE_CHECKING:
    from datasets import Dataset

DEFAULT_DEV_FRACTION = 0.1


@dataclass(frozen=True)
class Split:
    """Examples that play one part.

    Attributes:
        examples: columns `row` (`<part>/<number>`), `text`, and where there are such `label` (class id, number, or list of 0
            and 1), `text_pair`, `id`, `group`, slices.
        origin: the files, or the split it was carved from.
        source_rows: rows of those files, before any were drawn or carved.
    """

    part: Part
    examples: "Dataset"
    origin: str
    source_rows: int


@dataclass(frozen=True)
class TaskData:
    """All splits of a run with their label names, none where no label has one, and the record of what was found."""

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
    splits, labels, slice_columns, notes = _read_splits(located, recipe, task)
    _refuse_one_label(splits, task, labels)
    splits = _cut_test(splits, recipe, task)
    if task.objective not in MAKES_PAIRS:
        splits = _draw(splits, recipe)
    splits, dropped = _drop_train_rows_in_test(splits, recipe)
    splits, selection = _cut_dev(splits, recipe)
    if task.objective in MAKES_PAIRS:
        # Documents are parted first, so that no sentence stands on two sides.
        splits = _draw({part: _pair_sentences(split, task, recipe) for part, split in splits.items()}, recipe)
    _refuse_one_label(splits, task, labels)
    shared = [
        SharedRows(part=part, rows=find_shared_rows(splits["train"].examples, splits[part].examples))
        for part in ("dev", "test")
        if part in splits and "train" in splits
    ]
    record = DataRecord(
        task=task.name,
        source=located.origin,
        licence=located.licence,
        labels=list(labels.names),
        splits=[
            build_split_record(split.part, split.examples, split.origin, labels.names) for split in splits.values()
        ],
        shared_with_train=[entry for entry in shared if entry.rows],
        dropped_train_rows=dropped,
        selection=selection,
        notes=notes,
    )
    return TaskData(splits, labels.names, slice_columns, record)


def _read_splits(
    located: LocatedData, recipe: Recipe, task: Task
) -> tuple[dict[Part, Split], Labels, tuple[str, ...], list[str]]:
    """Return the parts that are supplied and of use, their labels and slices, and what is to be said of them."""
    wanted = [part for part in PARTS if part in located.files]
    if not recipe.needs_train:
        wanted = wanted[-1:]  # only measured: the test, or dev in its place
    replacements = task.replace if recipe.data.replace is None else recipe.data.replace
    labels = build_labels(recipe, task, located.layout)
    splits: dict[Part, Split] = {}
    slice_columns: tuple[str, ...] = ()
    replaced: Counter[str] = Counter()
    # Slices are those of the test; where none is supplied, its rows come from another part.
    supplier = next(part for part in ("test", "dev", "train") if part in wanted)
    for part in wanted:
        paths = located.files[part]
        found = read_part(part, paths, located.layout, labels, recipe.evaluate.slices, replacements)
        examples = order_pairs(found.examples) if task.objective == "minimal_pairs" else found.examples
        labels = found.labels
        replaced.update(found.replaced)
        splits[part] = Split(part, examples, " + ".join(path.name for path in paths), len(examples))
        if part == supplier:
            slice_columns = found.slice_columns
    refuse_missing_slices(recipe.evaluate.slices, slice_columns, located.files[supplier][0], located.layout)
    notes = [
        f"`{show(old)}` replaced by '{show(replacements[old])}' in {count:,} rows"
        for old, count in replaced.items()
        # What a task replaces need not stand in every file; who states a text expects it somewhere.
        if count or recipe.data.replace is not None
    ]
    return splits, labels, slice_columns, notes


def _refuse_one_label(splits: Mapping[Part, Split], task: Task, labels: Labels) -> None:
    if "train" not in splits or task.objective not in ("classification", "regression"):
        return
    found = read_labels(splits["train"].examples)
    if found is not None and (found == found[0]).all():
        label = found[0].item()
        name = labels.names[label] if labels.names else label
        raise DataError(
            f"{splits['train'].origin}: every train row is labelled '{name}', and from one "
            f"{'class' if labels.names else 'number'} nothing can be learnt"
        )


def _cut_test(splits: dict[Part, Split], recipe: Recipe, task: Task) -> dict[Part, Split]:
    """Give the test its rows: a supplied test stays, else dev plays test, else it is carved."""
    data = recipe.data
    splits = dict(splits)
    if "test" not in splits and "dev" in splits:
        splits["test"] = replace(splits.pop("dev"), part="test")
    if "test" not in splits:
        train = splits["train"]
        if task.objective in LEARNS_FROM_DOCUMENTS and len(train.examples) == 1:
            raise DataError(
                f"{train.origin}: one document only, of which no test can be carved; data.documents says what a document "
                "of a .txt file is, and data.path can name a test"
            )
        is_test = choose_carved(train.examples, data.test_fraction, data.split_seed)
        splits["train"], splits["test"] = _part_split(train, "test", is_test)
    return splits


def _draw(splits: Mapping[Part, Split], recipe: Recipe) -> dict[Part, Split]:
    """Return the splits with as many rows of train and test as the recipe asks for."""
    data, drawn = recipe.data, dict(splits)
    for part, rows in (("train", data.max_train_rows), ("test", data.max_test_rows)):
        if part in drawn and rows is not None:
            drawn[part] = replace(drawn[part], examples=draw_rows(drawn[part].examples, rows, data.split_seed))
    return drawn


def _pair_sentences(split: Split, task: Task, recipe: Recipe) -> Split:
    """Return a split of documents as one of pairs of their sentences, which are sliced as their documents are."""
    from finetune.next_sentence import build_sentence_pairs

    try:
        pairs = build_sentence_pairs(
            split.examples,
            task.objective,
            recipe.data.split_seed,
            part=split.part,
            max_length=recipe.data.max_length,
        )
    except DataError as error:
        raise DataError(f"{split.origin} ({split.part}): {error}") from None
    documents = {row: number for number, row in enumerate(read_column(split.examples, "row"))}
    origins = [documents[row] for row in read_column(pairs, "group")]
    for name in split.examples.column_names:
        if name.startswith("slice:"):
            values = read_column(split.examples, name)
            pairs = pairs.add_column(name, [values[number] for number in origins])
    return replace(split, examples=pairs)


def _cut_dev(splits: dict[Part, Split], recipe: Recipe) -> tuple[dict[Part, Split], str]:
    """Carve dev where something needs it and none is supplied; return what plays dev, in words."""
    data = recipe.data
    if "dev" in splits:
        return splits, f"dev: {splits['dev'].origin}, supplied"
    if "train" not in splits or not recipe.needs_dev:
        return splits, "nothing was selected, so no rows play dev"
    fraction = DEFAULT_DEV_FRACTION if data.dev_fraction is None else data.dev_fraction
    whole = splits["train"]
    # A text that is reported on may be trained on, as published numbers do, but must not select.
    is_dev = choose_carved(whole.examples, fraction, data.split_seed)
    is_dev[is_dev] = ~is_shared(keep_rows(whole.examples, is_dev), splits["test"].examples)
    if not is_dev.any():
        raise DataError(
            f"{whole.origin}: every row carved for dev stands in the test too, so nothing is left to select on; "
            "name dev rows in data.path"
        )
    train, dev = _part_split(whole, "dev", is_dev)
    selection = f"dev: {fraction:.0%} of train, carved with split_seed {data.split_seed}"
    return {"train": train, "dev": dev, "test": splits["test"]}, selection


def _part_split(split: Split, part: Part, is_carved: NDArray[np.bool_]) -> tuple[Split, Split]:
    """Return a split without the carved rows, and these as another part."""
    kept, carved = keep_rows(split.examples, ~is_carved), keep_rows(split.examples, is_carved)
    return replace(split, examples=kept), Split(part, carved, f"carved from {split.origin}", split.source_rows)


def _drop_train_rows_in_test(splits: dict[Part, Split], recipe: Recipe) -> tuple[dict[Part, Split], int]:
    if not recipe.data.drop_train_rows_in_test or "train" not in splits:
        return splits, 0
    train = splits["train"].examples
    is_dropped = is_shared(train, splits["test"].examples)
    if is_dropped.all():
        raise DataError(
            f"{splits['train'].origin}: the text of every train row stands in the test, so "
            "data.drop_train_rows_in_test leaves none"
        )
    if not is_dropped.any():
        return splits, 0
    return splits | {"train": replace(splits["train"], examples=keep_rows(train, ~is_dropped))}, int(is_dropped.sum())


def texts_of(examples: "Dataset") -> Sequence[tuple[str, ...]]:
    """Return the text, or the pair of texts, of each row."""
    names = [name for name in ("text", "text_pair") if name in examples.column_names]
    return read_rows(examples, lambda rows: list(zip(*(read_column(rows, name) for name in names), strict=True)))


def name_rows(examples: "Dataset") -> Sequence[str]:
    """Return how a report names each row: its row id, and the value of the id column where there is one."""
    if "id" not in examples.column_names:
        return read_rows(examples, lambda rows: read_column(rows, "row"))
    return read_rows(
        examples,
        lambda rows: [
            f"{row} ({name})" for row, name in zip(read_column(rows, "row"), read_column(rows, "id"), strict=True)
        ],
    )


def groups_of(examples: "Dataset") -> list[str] | None:
    """Return the group of each row, or None where the data has no group column."""
    return read_column(examples, "group") if "group" in examples.column_names else None
