"""What a run starts from: a checkpoint with its tokenizer, or the outline of a network whose weights are all drawn.

Owns finding it out from a recipe, before any model is built. Loads no code of a checkpoint, and decides here alone what pads. Whether the
weights are what they claim is `checkpoint`; the model itself is `model`.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from finetune.checkpoint import (
    OUTLINE_PATTERNS,
    TOKENIZER_PATTERNS,
    Checkpoint,
    find_checkpoint,
    find_folder,
    name_checkpoint,
)
from finetune.data import texts_of
from finetune.errors import DataError, SettingError, first_line, suggest
from finetune.features import choose_max_length
from finetune.lineage import find_lineage
from finetune.recipe_sections import ModelSettings, TokenizerSettings
from finetune.records import Ancestor
from finetune.sentence_likelihood import is_causal
from finetune.tokenizer_training import Architecture, train_tokenizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Task

# Fields of a configuration that follow from the tokenizer, or would make another kind of model of it.
_NOT_SHAPE = {"pad_token_id", "bos_token_id", "eos_token_id", "is_decoder", "add_cross_attention"}
MOST_LAYERS = 1000
# Where a configuration of model or tokenizer names Python files, of its folder or of the hub, for those who trust them.
_NAMES_OF_CODE = ("auto_map", "custom_pipelines")


@dataclass(frozen=True)
class Start:
    """What every seed of a run starts from.

    Attributes:
        name: for people.
        sha256: of the weights; empty where all are drawn.
        checkpoint: whose weights are loaded; None where all are drawn.
        lineage: the runs that made the checkpoint, the oldest first.
        notes: what is to be said of it.
    """

    name: str
    sha256: str
    config: "PretrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    checkpoint: Checkpoint | None
    lineage: tuple[Ancestor, ...] = ()
    notes: tuple[str, ...] = ()


def find_start(recipe: "Recipe", task: "Task", data: "TaskData") -> Start:
    """Return what a recipe starts from; a tokenizer that it trains learns from the train rows of `data`.

    Raises:
        MissingInputError, UnavailableError: a checkpoint or tokenizer isn't here, and the hub doesn't give it.
        DataError: it is damaged, or doesn't fit together.
        SettingError: the shape is none of this architecture, or the architecture can't do the task.
    """
    settings = recipe.model
    start = open_start(find_checkpoint(settings)) if settings.init == "pretrained" else _draw_up(settings, data)
    _refuse_unfit(start, task, "model.checkpoint" if settings.checkpoint else "model.architecture")
    return start


def open_start(checkpoint: Checkpoint) -> Start:
    """Return what a run starts from that goes on with a checkpoint.

    Raises:
        DataError: the checkpoint is damaged, or its parts don't belong together.
    """
    lineage = tuple(find_lineage(checkpoint.folder))
    config, notes = _read_config(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    if len(tokenizer) > config.vocab_size:
        raise DataError(
            f"{checkpoint.name}: the tokenizer knows {len(tokenizer)} tokens, the model {config.vocab_size}; "
            "they belong to different checkpoints"
        )
    config.pad_token_id = tokenizer.pad_token_id
    return Start(checkpoint.name, checkpoint.sha256, config, tokenizer, checkpoint, lineage, notes)


def _draw_up(settings: ModelSettings, data: "TaskData") -> Start:
    """Return the outline of a network from scratch."""
    outline = None
    if settings.checkpoint is not None:
        folder = find_folder(settings.checkpoint, settings.revision, OUTLINE_PATTERNS)
        outline = Checkpoint(folder, name_checkpoint(settings), sha256="")
    config = load_config(outline) if outline else _default_config(settings.architecture)
    _shape(config, settings.shape)
    tokenizer = _find_tokenizer(settings, config, data, outline)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    tokenizer.model_max_length = _count_positions(config, tokenizer)
    note = _fit_vocabulary(settings, config, len(tokenizer))
    name = outline.name if outline else str(settings.architecture)
    return Start(f"{name}, from scratch", "", config, tokenizer, None, notes=(note,))


def _count_positions(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the longest input in tokens.

    Raises:
        SettingError: there is none, since RoBERTa counts positions from the id of the pad token on.
    """
    longest = choose_max_length(None, config, tokenizer)
    if longest < 2:
        raise SettingError(
            "model.tokenizer",
            f"its pad token has the id {tokenizer.pad_token_id:,}, from which {config.model_type} counts its positions; "
            "train one, or name that of a checkpoint of this architecture",
        )
    return longest


def _default_config(architecture: str | None) -> "PretrainedConfig":
    from transformers import AutoConfig

    assert architecture is not None
    return AutoConfig.for_model(architecture)


def _shape(config: "PretrainedConfig", shape: dict[str, int | float | str | bool]) -> None:
    """Set fields of a configuration by their own names.

    Raises:
        SettingError: there is no such field, or it holds something else.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import PretrainedConfig

    of_all = {field.name for field in fields(PretrainedConfig)}
    names = {field.name for field in fields(cast("Any", config))} - of_all - _NOT_SHAPE | set(config.attribute_map)
    for name, value in shape.items():
        key = f"model.shape.{name}"
        if name not in names:
            raise SettingError(key, f"{config.model_type} has no such field to set{suggest(name, sorted(names))}")
        default = getattr(config, name)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise SettingError(key, f"found {value}, allowed is 1 or more")
        try:
            setattr(config, name, value)
        except StrictDataclassError:
            raise SettingError(key, f"found {value!r}, expected is a value such as the default, {default!r}") from None


def _find_tokenizer(
    settings: ModelSettings, config: "PretrainedConfig", data: "TaskData", outline: Checkpoint | None
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that a recipe from scratch trains, names, or takes from the checkpoint that it names."""
    if isinstance(settings.tokenizer, str):
        folder = find_folder(settings.tokenizer, None, TOKENIZER_PATTERNS, key="model.tokenizer")
        return load_tokenizer(Checkpoint(folder, settings.tokenizer, sha256=""), config)
    if settings.tokenizer is None:
        assert outline is not None
        return load_tokenizer(outline)
    if config.model_type not in get_args(Architecture):
        known = ", ".join(get_args(Architecture))
        raise SettingError("model.tokenizer", f"one can be trained for {known}; found architecture {config.model_type}")
    if "train" not in data.splits:
        raise SettingError("model.tokenizer", "it is trained on the train rows, and there are none; name a folder")
    texts = [text for row in texts_of(data.splits["train"].examples) for text in row]
    return train_tokenizer(texts, cast("Architecture", config.model_type), settings.tokenizer)


def _fit_vocabulary(settings: ModelSettings, config: "PretrainedConfig", entries: int) -> str:
    """Give the model as many entries as the tokenizer has, or as many as the recipe states; return a line on both.

    Raises:
        SettingError: fewer are stated than the tokenizer has.
    """
    if "vocab_size" not in settings.shape:
        config.vocab_size = entries
    elif config.vocab_size < entries:
        raise SettingError(
            "model.shape.vocab_size", f"found {config.vocab_size:,}, but the tokenizer has {entries:,} entries"
        )
    trained = settings.tokenizer
    most = f" of at most {trained.vocabulary:,}" if isinstance(trained, TokenizerSettings) else ""
    return f"tokenizer {entries:,}{most} entries; model {config.vocab_size:,}"


def _refuse_unfit(start: Start, task: "Task", key: str) -> None:
    """Refuse a language model of the wrong kind, before its tokenizer or its weights are blamed.

    Raises:
        SettingError: one that reads from left to right is to fill masks, or the other way round, or there is no mask.
    """
    architecture = start.config.model_type
    if task.objective == "masked_lm" and is_causal(start.config):
        raise SettingError(
            key,
            f"{start.name} ({architecture}) reads from left to right and fills no masks; "
            f"task {task.name} needs a model such as BERT or RoBERTa",
        )
    if task.objective == "causal_lm" and not is_causal(start.config):
        raise SettingError(
            key,
            f"{start.name} ({architecture}) fills masks and can't continue a text; "
            f"task {task.name} needs a model that reads from left to right, such as GPT-2",
        )
    if task.objective in ("masked_lm", "pretraining") and start.tokenizer.mask_token_id is None:
        raise SettingError(key, f"{start.name}: its tokenizer has no mask token, which task {task.name} needs")


def load_config(checkpoint: Checkpoint) -> "PretrainedConfig":
    """Return the configuration of a checkpoint.

    Raises:
        DataError: it is damaged, or of an architecture that needs code of its own.
    """
    return _read_config(checkpoint)[0]


def _read_config(checkpoint: Checkpoint) -> "tuple[PretrainedConfig, tuple[str, ...]]":
    """Return the configuration of a checkpoint, and what is to be said of it."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    # Whatever a strange file trips over in the library, it is the file that is wrong.
    except Exception as error:
        raise DataError(f"{checkpoint.name}: config.json can't be used ({first_line(error)})") from None
    layers = getattr(config, "num_hidden_layers", 0)
    if layers > MOST_LAYERS:
        # Each is an object of many parts, even where no weight is drawn.
        raise DataError(f"{checkpoint.name}: config.json states {layers:,} layers, at most {MOST_LAYERS:,} are built")
    # A kernel that it names may not be installed here, or would be fetched from the hub and run.
    named, config._attn_implementation = config._attn_implementation, None
    notes = [f"the checkpoint names {named} for attention; what this machine has is used"] if named else []
    # Nor may it lie beside our weights, for somebody else to run.
    codes = [vars(config).pop(name, None) for name in _NAMES_OF_CODE]
    if any(codes):
        notes.append("the checkpoint names code of its own, which is neither run nor kept")
    return config, tuple(notes)


def load_tokenizer(checkpoint: Checkpoint, config: "PretrainedConfig | None" = None) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a checkpoint, with a pad token and right padding.

    A folder that holds a bare vocabulary is read as that of the architecture of `config`.

    Raises:
        DataError: none is there, or it is damaged.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            checkpoint.folder, config=config, trust_remote_code=False, local_files_only=True
        )
    # The library's Rust part raises Exception itself.
    except Exception as error:
        raise DataError(f"{checkpoint.name}: no usable tokenizer in the checkpoint ({first_line(error)})") from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise DataError(f"{checkpoint.name}: the folder holds no vocabulary that a {type(tokenizer).__name__} can read")
    if tokenizer.pad_token is None:
        # GPT-2 has no pad token; the mask keeps the model from reading it, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise DataError(f"{checkpoint.name}: the tokenizer has neither a pad, an end nor an unknown token")
    tokenizer.padding_side = "right"
    for name in _NAMES_OF_CODE:
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer
