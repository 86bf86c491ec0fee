"""What an objective is: how rows become features and batches, what loss they give, what a fitted model answers.

Owns the protocols and which class serves a task; each class has its module in `objectives/`. The straight line of a run
(`prepare`, `trainer`, `fit`) knows an objective by these methods alone.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.answers import AnyAnswers
    from finetune.batching import Layout, Slot
    from finetune.data import TaskData
    from finetune.features import EncodedRow, FeatureRows
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


class Objective(Protocol):
    """What can be asked of rows and a model; instances hold settings and a tokenizer, and can be sent to other processes."""

    @property
    def model_class(self) -> str:
        """Name of the class of transformers that has the head which is asked, such as AutoModelForMaskedLM."""
        ...

    @property
    def problem_type(self) -> str | None:
        """What a classification head is told of its problem, in transformers' words; None for other heads."""
        ...

    @property
    def measures_start(self) -> bool:
        """Say whether the model is also asked before training, as a baseline: where its head isn't new, or loss has a meaning."""
        ...

    def encode(self, examples: "Dataset", part: "Part") -> "FeatureRows":
        """Return the features of all examples of a part.

        Raises:
            SettingError, DataError: the settings or the rows leave nothing to learn from or to measure.
        """
        ...

    def answer(
        self,
        model: "PreTrainedModel",
        features: "FeatureRows",
        batch_size: int,
        *,
        process: int = 0,
        processes: int = 1,
    ) -> "AnyAnswers":
        """Return what the model says of every row, in row order, the same on every process.

        Raises:
            InvalidResultError: an output is not finite.
        """
        ...


@runtime_checkable
class DrawnObjective(Objective, Protocol):
    """An objective that shows a model more than the row, drawn by the seed, such as worked examples."""

    @property
    def encodes_by_seed(self) -> bool:
        """Say whether the features of a row differ from seed to seed."""
        ...

    def for_seed(self, seed: int) -> "DrawnObjective":
        """Return the objective as another seed draws it."""
        ...


@runtime_checkable
class TrainedObjective(Objective, Protocol):
    """An objective with a loss. A loss may have several terms, each a weighted mean over what it counts (rows, tokens)."""

    @property
    def layout(self) -> "Layout":
        """How rows become tensors, padded or packed."""
        ...

    def collate(self, rows: "Sequence[tuple[EncodedRow, Slot]]") -> "dict[str, Any]":
        """Return one micro-batch: tensors of the model, those of the loss, and what is counted of it.

        `example_count` and `token_count` (no dimensions) are its rows and real tokens, fillers left out; `input_ids` are
        all tokens that go through the model.
        """
        ...

    def sum_weights(self, batch: "dict[str, Any]") -> "Tensor":
        """Return the summed weight behind each term of the loss (terms,), known before the forward pass."""
        ...

    def sum_losses(self, model: "nn.Module", batch: "dict[str, Any]") -> "tuple[Tensor, Any]":
        """Return the weighted sum of each term (terms,), times the term's share in the loss, and the model's outputs.

        `model` may be wrapped for several processes, so it is called, never taken apart.
        """
        ...


@runtime_checkable
class StartsHead(Protocol):
    """An objective that knows, before training, something of what its head will have to say."""

    def start_head(self, model: "PreTrainedModel") -> None:
        """Change a head whose weights were just drawn."""
        ...


def build_objective(
    recipe: "Recipe",
    task: "Task",
    data: "TaskData",
    tokenizer: "PreTrainedTokenizerBase",
    config: "PretrainedConfig",
) -> Objective:
    """Return the objective of a task with all that it needs to encode, learn and answer.

    Raises:
        SettingError, DataError: a setting doesn't fit the data or the architecture.
    """
    name = "prompting" if recipe.evaluate.prompt is not None else task.objective
    found: Objective = import_module(f"finetune.objectives.{name}").build(recipe, task, data, tokenizer, config)
    return found
