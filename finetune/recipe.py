"""The recipe: what decides the outcome of a run, made of the sections in `recipe_sections`.

Owns the schema as a whole. Reading YAML, `extends`, overrides and line numbers belong to `recipe_file`; whether data and checkpoint
exist is for `data` and `model` to say. Imports no torch.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from finetune.recipe_sections import (
    Count,
    DataSettings,
    EvaluateSettings,
    ModelSettings,
    Positive,
    Settings,
    TrainSettings,
)


def _seeds_of(value: Any) -> Any:
    """Turn a count N into [1, ..., N]; leave anything else to the list check."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 1000:
            raise ValueError("a count of seeds is a whole number from 1 to 1000")
        return list(range(1, value + 1))
    return value


class Band(Settings):
    """A published or measured range that the score of a recipe is held against."""

    low: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    """Lowest value that counts as reproduced."""
    high: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    """Highest value that counts as reproduced."""
    source: str
    """Where the band comes from."""
    rows: Positive | None = None
    """Number of rows behind the band; on other rows it is not comparable."""
    slice: str = "all"
    """Slice of the test rows that the band speaks of."""

    @model_validator(mode="after")
    def _low_is_not_above_high(self) -> "Band":
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Recipe(Settings):
    """A checkpoint paired with a task: everything that decides the outcome of a run."""

    task: str
    """Name of the task: cola, text-classification, ... (`finetune recipes` lists those in use)."""
    model: ModelSettings
    """The checkpoint, or the untrained architecture, to start from."""
    data: DataSettings = DataSettings()
    """Where the rows are and how they are cut."""
    train: TrainSettings | None = TrainSettings()
    """How the model is fitted; null: no training, the checkpoint is measured as it is."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """How the fitted model is measured."""
    seeds: Annotated[
        list[Count],
        BeforeValidator(_seeds_of),
        Field(
            min_length=1,
            json_schema_extra={
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 1000},
                    {"type": "array", "items": {"type": "integer"}},
                ]
            },
        ),
    ] = [1]
    """A count N, meaning seeds 1 to N, or the list of seeds; each drives head, order and dropout, never the split."""
    expect: dict[str, Band] = {}
    """Bands by metric name."""
    note: str = ""
    """Free text for the reader."""

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"a seed stands twice in {seeds}")
        return seeds

    @property
    def needs_train(self) -> bool:
        """Say whether train rows are of use: for training, or as worked examples in a prompt."""
        return self.train is not None or (self.evaluate.prompt is not None and self.evaluate.prompt.shots > 0)

    @property
    def needs_dev(self) -> bool:
        """Say whether a dev split has to exist for this recipe."""
        selects = self.train is not None and self.train.selects_on_dev
        return selects or self.data.dev_fraction is not None or self.evaluate.decides_on_dev


def build_json_schema() -> dict[str, Any]:
    """Return the JSON schema of recipe files, `extends` included, for completion in editors."""
    schema = Recipe.model_json_schema()
    schema["title"] = "finetune recipe"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another recipe, relative to this file, whose values this one builds on.",
    }
    # The validated list; what a file may state is a count too.
    for word in ("type", "items", "minItems"):
        schema["properties"]["seeds"].pop(word)
    # What an extended recipe states need not be stated again, and null resets it.
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)
        part["properties"] = {name: {"anyOf": [value, {"type": "null"}]} for name, value in part["properties"].items()}
    schema["properties"]["expect"]["anyOf"][0]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/Band"}, {"type": "null"}]
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
