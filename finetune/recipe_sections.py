"""The sections of a recipe: model, data, train and evaluate, every setting with its type, default and meaning.

Owns what can be judged from one section alone. How they make a recipe is `recipe`. Imports no torch.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False, strict=True)]
Every = Annotated[int, Field(ge=1, strict=True)] | Literal["epoch"]
Batching = Literal["packed", "grouped", "padded"]
# Upper bounds on a learning rate and the like catch a slip of the exponent, not a bold choice.
LearningRate = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False, strict=True)]
# No address that would be fetched from elsewhere; folders are told apart by how they begin.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
PACKAGE_NAME = re.compile(r"package:[A-Za-z0-9_]+")
FOLDER_STARTS = (".", "/", "~", "runs/")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _refuse_address(path: str) -> str:
    if ADDRESS.match(path):
        raise ValueError("only files of this machine are read; download it first")
    return path


LocalPath = Annotated[str, AfterValidator(_refuse_address)]


class Settings(BaseModel):
    """Base of every recipe section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=False)


class TokenizerSettings(Settings):
    """A tokenizer trained on the train rows: byte-level byte pairs, as GPT-2 and RoBERTa have them."""

    vocabulary: Annotated[int, Field(ge=261, le=1_000_000, strict=True)] = 52_000
    """Most entries; small data yields fewer."""
    min_frequency: Positive = 2
    """How often a pair has to occur to become an entry."""


class ModelSettings(Settings):
    """Which checkpoint, or which untrained architecture, a run starts from."""

    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    """Hub id (owner/name), folder (./path), earlier run (runs/x/latest), or package:module for weights an installed package carries."""
    init: Literal["pretrained", "scratch"] = "pretrained"
    """scratch: draw all weights from the seed; the checkpoint, if one is named, gives its configuration and tokenizer alone."""
    architecture: Literal["bert", "roberta", "distilbert", "gpt2"] | None = None
    """Architecture of a model from scratch, where no checkpoint names one."""
    shape: dict[str, int | float | str | bool] = {}
    """Fields of the architecture's configuration for a model from scratch, by their own names, such as num_hidden_layers."""
    tokenizer: TokenizerSettings | str | None = None
    """Of a model from scratch: settings to train one on the train rows, or a folder or hub id that has one; absent: the checkpoint's."""
    revision: str | None = None
    """Commit, tag or branch of a hub checkpoint; a full commit makes the run reproducible."""
    sha256: Sha256 | None = None
    """Expected SHA-256 of model.safetensors."""

    @property
    def is_package(self) -> bool:
        """Say whether an installed Python package carries the weights."""
        return self.checkpoint is not None and self.checkpoint.startswith("package:")

    @property
    def is_local(self) -> bool:
        """Say whether the checkpoint is named as a folder on this machine."""
        return self.checkpoint is not None and self.checkpoint.startswith(FOLDER_STARTS)

    @field_validator("checkpoint")
    @classmethod
    def _is_a_name_or_a_folder(cls, checkpoint: str | None) -> str | None:
        if checkpoint is None:
            return None
        is_folder = checkpoint.startswith(FOLDER_STARTS)
        if not (is_folder or PACKAGE_NAME.fullmatch(checkpoint) or HUB_NAME.fullmatch(checkpoint)):
            raise ValueError(
                "allowed is a hub id such as google-bert/bert-base-uncased, a folder (./path), or package:module"
            )
        return checkpoint

    @model_validator(mode="after")
    def _refuse_revision_of_local_files(self) -> "ModelSettings":
        if self.revision and (self.is_package or self.is_local):
            raise ValueError("revision belongs to hub checkpoints; a folder or package has none (reset it with null)")
        return self

    @model_validator(mode="after")
    def _has_one_beginning(self) -> "ModelSettings":
        if self.init == "pretrained":
            if self.checkpoint is None:
                raise ValueError(
                    "checkpoint is missing (without one: init: scratch with an architecture and a tokenizer)"
                )
            if self.architecture or self.shape or self.tokenizer:
                raise ValueError("architecture, shape and tokenizer belong to init: scratch; a checkpoint has its own")
        elif (self.checkpoint is None) == (self.architecture is None):
            raise ValueError(
                "init: scratch needs a checkpoint whose configuration it takes, or an architecture; one of them"
            )
        elif self.checkpoint is None and self.tokenizer is None:
            raise ValueError(
                "an architecture needs a tokenizer: settings to train one, or a folder or hub id that has one"
            )
        if self.init == "scratch" and self.sha256:
            raise ValueError("sha256 belongs to weights, and init: scratch reads none (reset it with null)")
        return self


class Columns(Settings):
    """Which column of a data file plays which part: a name, or a 1-based number where the file has no header."""

    text: str | Positive | None = None
    """The sentence or document."""
    text_pair: str | Positive | None = None
    """The second text of a pair."""
    label: str | Positive | None = None
    """The label to learn; of regression a number."""
    labels: Annotated[list[str | Positive], Field(min_length=1)] | None = None
    """Columns of 0 and 1, one a label, of a multi-label task."""
    id: str | Positive | None = None
    """A name of the row, kept for the reader of a report."""
    group: str | Positive | None = None
    """Rows of one group are never put on both sides of a split."""


class SplitPaths(Settings):
    """One file for each part that the data plays."""

    train: LocalPath | None = None
    """Rows that fit the model."""
    dev: LocalPath | None = None
    """Rows that select (checkpoint, patience, temperature, threshold, seed)."""
    test: LocalPath | None = None
    """Rows that are reported, never selected on."""


class DataSettings(Settings):
    """Where the rows are and how they are cut."""

    path: LocalPath | SplitPaths | None = None
    """A file, a folder holding train.*, dev.* (or validation.*, valid.*, val.*), test.*, or {train, dev, test}; relative to the
    recipe that states it."""
    columns: Columns = Columns()
    """Which column is text, text_pair, label, labels, id, group; not needed where a language model learns from a column `text`."""
    header: bool | None = None
    """False where the first line is data; columns are then numbers. Absent: as the task's own files are, else true."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Cell separator of a CSV file, where it is not the comma."""
    documents: Literal["line", "paragraph", "heading", "file"] | None = None
    """What a document of a .txt file is: a line; lines up to a blank one; up to the next ` = Title = `; the whole file."""
    replace: dict[Annotated[str, Field(min_length=1)], str] | None = None
    """{text: text} put in its place in every row before anything else, such as "<br />": " "; absent: as the task has it."""
    labels: Annotated[list[str], Field(min_length=2)] | dict[str, str] | None = None
    """Label names in the order of their ids, or {text in the file: name}; absent: found in the data and sorted. Of a multi-label
    task a name for each column of data.columns.labels; absent: the names of the columns."""
    max_length: Annotated[int, Field(ge=2, strict=True)] | None = None
    """Longest input in tokens, special tokens included; absent: what the checkpoint allows, for language models at most 512."""
    max_train_rows: Positive | None = None
    """Train on this many rows, drawn by split_seed."""
    max_test_rows: Positive | None = None
    """Report on this many rows, drawn by split_seed."""
    dev_fraction: Annotated[float, Field(gt=0.0, lt=1.0, strict=True)] | None = None
    """Share of train carved into dev; absent: 0.1 where something selects, else no dev."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0, strict=True)] = 0.1
    """Share of the rows carved into test where no test is supplied."""
    split_seed: Count = 0
    """Seed of every carving and drawing of rows, the same for all seeds of a run."""
    drop_train_rows_in_test: bool = False
    """Drop train rows whose text stands in the test; published numbers keep them."""


class TrainSettings(Settings):
    """How the model is fitted."""

    epochs: Positive = 3
    """Passes over train."""
    max_steps: Positive | None = None
    """Stop after this many optimizer steps; overrides epochs."""
    batch_size: Positive = 32
    """Examples per optimizer step, over all processes."""
    batch_tokens: Positive | None = None
    """About as many tokens per optimizer step instead, in more or fewer examples, over all processes; for packed and grouped batches."""
    micro_batch_size: Positive | None = None
    """Examples per forward pass and process; accumulation makes up the rest of the batch. Packed batches are cut into as many passes
    of about as many tokens."""
    learning_rate: LearningRate = 2e-5
    """Peak learning rate of AdamW (with bias correction)."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up."""
    warmup_ratio: Share = 0.1
    """Share of all steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0, strict=True)] = 0.01
    """Decoupled weight decay (none on biases and layer norms)."""
    max_grad_norm: Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)] = 1.0
    """Clip the gradient's norm here; 0: no clipping."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the forward and backward pass; auto takes bf16 only where the processor computes in it."""
    batching: Batching = "packed"
    """packed: random batches whose rows lie end to end, without padding; grouped where the architecture has no such form here.
    grouped: rows of like length share a batch; padded: random batches. Both pad to the longest row of the batch."""
    evaluate_every: Every = "epoch"
    """Score dev after this many steps, or each epoch."""
    keep_best: bool = False
    """Keep the weights that scored best on dev instead of the last ones; checkpoints are then written when dev is scored."""
    patience: Positive | None = None
    """Stop after this many dev scores without a gain; implies keep_best."""
    class_weights: (
        Literal["balanced"] | list[Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]] | None
    ) = None
    """Weight of each class in the loss, in the order of label ids; balanced: inverse to its frequency."""
    label_smoothing: Share = 0.0
    """Share of the target spread evenly over the classes."""
    mask_probability: Annotated[float, Field(gt=0.0, lt=1.0, strict=True)] = 0.15
    """Share of tokens that a masked language model has to predict, drawn anew each epoch (RoBERTa's dynamic masking)."""
    whole_word_masking: bool = False
    """Mask all pieces of a word together."""
    auxiliary_lm_weight: Annotated[float, Field(ge=0.0, le=10.0, allow_inf_nan=False, strict=True)] = 0.0
    """Weight of a language-model loss beside a classifier's on a causal model (Radford et al. 2018 took 0.5)."""
    save_every: Every | Literal["never"] = "epoch"
    """Write a checkpoint for --resume after this many steps, or each epoch, or never."""
    keep_checkpoints: Positive = 1
    """How many checkpoints stay on disk beside the best."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: half the memory, about 1.5 times the time."""
    threads: Positive | None = None
    """CPU threads of a process; absent: the processor's cores shared by the processes."""
    torch_compile: bool = False
    """Compile the model with torch.compile, for batches in groups; a short run on a CPU loses by it."""
    deterministic: bool = False
    """Use deterministic kernels only (slower on GPUs)."""
    extra: dict[str, Any] = {}
    """Any other field of transformers.TrainingArguments by its own name, such as report_to."""

    @property
    def selects_on_dev(self) -> bool:
        """Say whether something in training is chosen by a dev score."""
        return self.keep_best or self.patience is not None


class Costs(Settings):
    """What the two kinds of mistakes of a task of two labels cost; only their ratio matters."""

    false_positive: Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
    """Cost of predicting the second label where the first is right."""
    false_negative: Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
    """Cost of predicting the first label where the second is right."""


class PromptSettings(Settings):
    """How a language model that isn't fine-tuned is asked about a row."""

    template: str | None = None
    """Text with {text}, maybe {text_pair}, and {answer} where the label's word stands; absent: the task's."""
    answers: dict[str, str] | None = None
    """{label name: the word that stands for it}; absent: the task's."""
    shots: Count = 0
    """Worked examples from train in front of each row, drawn by the seed, as many of each label as divide."""
    normalise_length: bool = True
    """Compare the mean log likelihood of an answer's tokens instead of their sum."""
    calibrate: bool = True
    """Divide by each answer's likelihood after a row without content (Zhao et al. 2021)."""


class EvaluateSettings(Settings):
    """How the fitted model is measured."""

    batch_size: Positive = 64
    """Rows of one forward pass."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000, strict=True)] = 2000
    """Resamples behind each 95 % interval."""
    slices: list[str] = []
    """Columns of the data by whose values scores are also given."""
    temperature: bool = False
    """Fit a temperature on dev that makes probabilities honest, and divide the logits by it; labels stay as they are."""
    prompt: PromptSettings | None = None
    """Ask a causal language model by prompt instead of a classification head; needs train: null."""
    threshold: str | Costs | None = None
    """Of two labels, predict the second from the probability on that is best on dev: for a metric, or for stated costs."""

    @property
    def decides_on_dev(self) -> bool:
        """Say whether something between outputs and labels is fitted on dev."""
        return self.temperature or self.threshold is not None
