"""Packing: the rows of a micro-batch laid end to end as one long row, so that nothing is padding.

Owns the tensors of a packed batch, where its rows lie, and for which architectures that is known to be exact. Attention that keeps
rows apart is `packed_attention`; what a classifier reads of each row is `pooling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.batching import Collator, Layout, Slot, count_batch
from finetune.features import EncodedRow
from finetune.recipe_sections import Batching

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from finetune.recipe import Recipe

ENCODERS: Final = ("bert", "distilbert", "roberta", "xlm-roberta")
DECODERS: Final = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3")
"""Architectures whose packed outputs, losses and gradients are tested to equal those of rows by themselves."""
COUNTS_FROM_PADDING: Final = ("roberta", "xlm-roberta")
"""Architectures whose first position is the one after the padding token's id (as in fairseq)."""


class Bounds(TypedDict):
    """Where the rows of a packed batch lie.

    Attributes:
        lengths: (rows,) tokens of each.
        starts, ends: (rows,) place of the first and of the last token of each.
        offsets: (rows + 1,) the starts and the number of all tokens, as GPU kernels read them.
        cells: (tokens,) place of each token in a padded table (rows × longest).
        is_token: (rows, 1, 1, longest), which cells of that table hold a token.
        is_narrow: whether only one token of each row is read in the end, so that the last layer may leave the others out.
    """

    lengths: tuple[int, ...]
    starts: torch.Tensor
    ends: torch.Tensor
    offsets: torch.Tensor
    cells: torch.Tensor
    is_token: torch.Tensor
    is_narrow: bool


def find_bounds(lengths: Sequence[int], *, is_narrow: bool = False) -> Bounds:
    """Return where rows of these lengths lie when they are laid end to end."""
    counts = np.asarray(lengths)
    ends = np.cumsum(counts) - 1
    starts, longest = ends + 1 - counts, int(counts.max())
    positions = np.arange(counts.sum()) - np.repeat(starts, counts)
    return Bounds(
        lengths=tuple(int(count) for count in counts),
        starts=torch.from_numpy(starts),
        ends=torch.from_numpy(ends),
        offsets=torch.from_numpy(np.append(starts, counts.sum()).astype(np.int32)),
        cells=torch.from_numpy(positions + longest * np.repeat(np.arange(len(counts)), counts)),
        is_token=torch.from_numpy(np.arange(longest) < counts[:, None])[:, None, None],
        is_narrow=is_narrow,
    )


@dataclass(frozen=True)
class Packer:
    """Lay rows end to end, positions starting anew with each.

    Attributes:
        first_position: of every row.
        is_narrow: whether only one token of each row is read in the end (`pooling`).
    """

    first_position: int = 0
    is_narrow: bool = False

    def __call__(self, rows: Sequence[tuple[EncodedRow, Slot]]) -> dict[str, Any]:
        """Return input_ids, position_ids, maybe token_type_ids (1, tokens); packed_bounds; labels and weights (batch, ...); counts.

        A row weighs 1, a filler 0.
        """
        encoded = [row for row, _ in rows]
        lengths = [len(row.input_ids) for row in encoded]
        batch: dict[str, Any] = {
            "input_ids": self.lay_out([row.input_ids for row in encoded], 0),
            "position_ids": self.lay_out([np.arange(length) + self.first_position for length in lengths], 0),
            # Masks of four dimensions are taken as they are by transformers. This one is never read; were it, its shape would fit nothing.
            "attention_mask": torch.zeros((1, 1, 0, 0), dtype=torch.bool),
            "packed_bounds": find_bounds(lengths, is_narrow=self.is_narrow),
            "labels": torch.tensor(np.array([row.label for row in encoded])),
            "weights": torch.tensor([0.0 if slot.is_filler else 1.0 for _, slot in rows]),
            **count_batch(rows),
        }
        types = [row.token_type_ids for row in encoded if row.token_type_ids is not None]
        return batch | ({"token_type_ids": self.lay_out(types, 0)} if types else {})

    def lay_out(self, rows: Sequence[NDArray[Any]], filling: int) -> torch.Tensor:
        """Return what belongs to the tokens of rows, (tokens,) each, as one (1, tokens); nothing is filled up."""
        return torch.from_numpy(np.concatenate(rows).astype(np.int64))[None]


def can_pack(config: "PretrainedConfig", longest: int | None = None) -> bool:
    """Say whether rows of at most `longest` tokens can be packed exactly for an architecture."""
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    sees_all = window is None or (longest is not None and longest <= window)
    # Only as a decoder BERT would look to the left alone; of a GPT-2 with attention of its own nothing is known.
    is_plain = not getattr(config, "is_decoder", False) and not getattr(config, "reorder_and_upcast_attn", False)
    return config.model_type in (*ENCODERS, *DECODERS) and sees_all and is_plain


def choose_layout(
    recipe: "Recipe",
    tokenizer: "PreTrainedTokenizerBase",
    config: "PretrainedConfig",
    longest: int,
    *,
    is_narrow: bool = False,
) -> Layout:
    """Return how the rows of a batch, of at most `longest` tokens, become tensors; see `Packer` for `is_narrow`.

    What is only measured is packed wherever it can be, what is compiled never: rows of other lengths would be compiled anew.
    """
    train = recipe.train
    is_wanted = train is None or (train.batching == "packed" and not train.torch_compile)
    if not is_wanted or not can_pack(config, longest):
        return Collator(tokenizer.pad_token_id)
    return Packer(config.pad_token_id + 1 if config.model_type in COUNTS_FROM_PADDING else 0, is_narrow)


def settle_batching(stated: Batching, layout: Layout) -> Batching:
    """Return how batches are made: as stated, or grouped where that is packed and there is no packed form here."""
    return "grouped" if stated == "packed" and not isinstance(layout, Packer) else stated
