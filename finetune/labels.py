"""Labels: what stands in the file, what people read, which numbers the model learns; a type for each kind, all used alike.

Owns reading them and the refusal of what is none. Ids of classes are stable: stated order, else sorted, as numbers where all are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from finetune.errors import DataError, SettingError, suggest
from finetune.readers import place
from finetune.recipe import Recipe
from finetune.task import Layout, Task

if TYPE_CHECKING:
    import pyarrow as pa

# Above this a column is more likely text or a measurement than a set of classes.
MAXIMUM_CLASSES = 1000


class Labels(Protocol):
    """The labels of a task, of whatever kind."""

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in the order of their ids; none where a label is a number."""
        ...

    def check(self, cells: Sequence[str], lines: Sequence[int], path: Path, column: str) -> Self:
        """Return the labels with what these cells of a column of train add.

        Raises:
            DataError: a cell is no label, with file:row:column.
        """
        ...

    def freeze(self) -> Self:
        """Return the labels as they are once train was read."""
        ...

    def values(self, columns: Sequence[Sequence[str]]) -> "pa.Array":
        """Return what is to be learnt of each row, from columns whose cells were checked."""
        ...


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task, of which each row has one.

    Attributes:
        by_text: {text in the file: name}, in the order of ids; grows while train is read, where no labels were stated.
        is_open: True until the labels found in train are final.
    """

    by_text: Mapping[str, str]
    is_open: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in the order of their ids."""
        return tuple(dict.fromkeys(self.by_text.values()))

    def check(self, cells: Sequence[str], lines: Sequence[int], path: Path, column: str) -> "LabelSet":
        """Return the set with new labels added, if it is still open.

        Raises:
            DataError: a label is empty or not one of the set, with file:row:column.
        """
        unknown = {cell: None for cell in cells if cell not in self.by_text}
        if not unknown:
            return self
        if not self.is_open or "" in unknown:
            wrong = "" if self.is_open else next(iter(unknown))
            known = list(self.by_text)
            fault = f"label {wrong[:60]!r} is not one of {', '.join(known[:20])}{suggest(wrong, known)}"
            raise DataError(
                f"{place(path, lines[list(cells).index(wrong)], column)}: {fault if wrong else 'the label is empty'}"
            )
        if len(self.by_text) + len(unknown) > MAXIMUM_CLASSES:
            raise DataError(
                f"{place(path)}: column '{column}' has more than {MAXIMUM_CLASSES} different values; is it the label?"
            )
        return replace(self, by_text={**self.by_text, **{cell: cell for cell in unknown}})

    def freeze(self) -> "LabelSet":
        """Return the set with its ids final."""
        if not self.is_open:
            return self
        texts = list(self.by_text)
        try:
            texts.sort(key=lambda text: (int(text), text))
        except ValueError:
            texts.sort()
        return LabelSet({text: text for text in texts}, is_open=False)

    def ids_of(self, cells: Sequence[str]) -> list[int]:
        """Return the label ids of cells that were checked."""
        ids = {name: number for number, name in enumerate(self.names)}
        by_cell = {text: ids[name] for text, name in self.by_text.items()}
        return [by_cell[cell] for cell in cells]

    def values(self, columns: Sequence[Sequence[str]]) -> "pa.Array":
        """Return the label ids of one column that was checked, (rows,)."""
        import pyarrow as pa

        (cells,) = columns
        return pa.array(self.ids_of(cells), pa.int64())


@dataclass(frozen=True)
class NumberLabels:
    """A finite number for each row."""

    names: ClassVar[tuple[str, ...]] = ()

    def check(self, cells: Sequence[str], lines: Sequence[int], path: Path, column: str) -> Self:
        """Return these labels.

        Raises:
            DataError: a cell is empty or no finite number, with file:row:column.
        """
        for cell, line in zip(cells, lines, strict=True):
            if _number_of(cell) is None:
                fault = f"label {cell[:60]!r} is not a number" if cell.strip() else "the label is empty"
                raise DataError(f"{place(path, line, column)}: {fault}")
        return self

    def freeze(self) -> Self:
        """Return these labels."""
        return self

    def values(self, columns: Sequence[Sequence[str]]) -> "pa.Array":
        """Return the numbers of one column that was checked, (rows,)."""
        import pyarrow as pa

        (cells,) = columns
        return pa.array(map(float, cells), pa.float64())


def _number_of(cell: str) -> float | None:
    """Return the finite number that a cell holds; Python's own `1_000` is none."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in cell else None


@dataclass(frozen=True)
class SeveralLabels:
    """Labels of which several can hold for a row, each with a column of 0 and 1."""

    names: tuple[str, ...]

    def check(self, cells: Sequence[str], lines: Sequence[int], path: Path, column: str) -> Self:
        """Return these labels.

        Raises:
            DataError: a cell is neither 0 nor 1, with file:row:column.
        """
        for cell, line in zip(cells, lines, strict=True):
            if cell not in ("0", "1"):
                raise DataError(f"{place(path, line, column)}: found {cell[:60]!r}, a label that holds is 1, another 0")
        return self

    def freeze(self) -> Self:
        """Return these labels."""
        return self

    def values(self, columns: Sequence[Sequence[str]]) -> "pa.Array":
        """Return which labels hold for each row, (rows, labels) of 0 and 1, from the columns in the order of names."""
        import pyarrow as pa

        return pa.array(([int(cell) for cell in row] for row in zip(*columns, strict=True)), pa.list_(pa.int8()))


def build_labels(recipe: Recipe, task: Task, layout: Layout) -> Labels:
    """Return the labels of what a task learns: classes, numbers, several at once, or a set without any.

    Raises:
        SettingError: not one name for each column of a multi-label task.
    """
    if task.objective == "regression":
        return NumberLabels()
    if task.objective == "multilabel":
        names = layout.labels if recipe.data.labels is None else tuple(recipe.data.labels)
        if len(names) != len(layout.labels):
            raise SettingError("data.labels", f"{len(names)} names, but data.columns.labels has {len(layout.labels)}")
        return SeveralLabels(names)
    if task.objective in ("masked_lm", "causal_lm"):
        return LabelSet({}, is_open=False)
    return build_label_set(recipe, task)


def build_label_set(recipe: Recipe, task: Task) -> LabelSet:
    """Return the labels that the recipe, or else the task, states; an open set where neither does."""
    stated = recipe.data.labels
    if isinstance(stated, list):
        return LabelSet({label: label for label in stated}, is_open=False)
    if stated is not None:
        return LabelSet(stated, is_open=False)
    if task.labels is not None:
        return LabelSet(task.labels, is_open=False)
    return LabelSet({}, is_open=True)
