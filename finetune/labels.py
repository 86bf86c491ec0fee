"""Label names and ids: what stands in the file, what people read, which number the model learns.

Owns the mapping and the refusal of labels outside it. Ids are stable: stated order, else sorted, as numbers where all are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.errors import DataError, suggest
from finetune.readers import place
from finetune.recipe import Recipe
from finetune.task import Task

# Above this a column is more likely text or a measurement than a set of classes.
MAXIMUM_CLASSES = 1000


@dataclass(frozen=True)
class LabelSet:
    """The labels of a task.

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
