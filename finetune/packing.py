"""Packing: the rows of a micro-batch laid end to end in few blocks, with next to no padding and no attention across rows.

Owns which rows share a block and the tensors of blocks. Positions restart with every row and there is no attention mask: from this the
decoders named here build a mask that keeps rows apart, so losses and gradients are those of rows by themselves.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.masking import NOT_PREDICTED

PACKABLE: Final = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3")
"""Architectures whose packed losses and gradients are tested to equal those of rows by themselves."""


def plan_blocks(lengths: Sequence[int], longest_block: int) -> list[list[int]]:
    """Return the rows of each block: as few blocks as first-fit makes, and these as even as it can.

    No row may be longer than `longest_block`.
    """
    fewest = len(first_fit(lengths, longest_block))
    shortest = max(max(lengths), -(-sum(lengths) // fewest))
    room = range(shortest, longest_block)
    # Blocks are padded to the longest of them, so the rows are spread evenly over as many.
    found = bisect_left(room, True, key=lambda capacity: len(first_fit(lengths, capacity)) <= fewest)
    return first_fit(lengths, shortest + found)


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the rows of each block of at most `capacity` tokens: each row, the longest first, in the first that has room.

    First-fit decreasing makes at most 11/9 of the fewest blocks possible, and 6/9 of one (Dósa 2007).
    """
    blocks: list[list[int]] = []
    left: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        at = next((block for block, room in enumerate(left) if room >= lengths[number]), len(blocks))
        if at == len(blocks):
            blocks.append([])
            left.append(capacity)
        blocks[at].append(number)
        left[at] -= lengths[number]
    return blocks


def pack_rows(
    rows: Sequence[NDArray[np.integer]], targets: Sequence[NDArray[np.integer]], longest_block: int, pad_token_id: int
) -> dict[str, torch.Tensor]:
    """Return input_ids, position_ids and targets, all (blocks, tokens), of rows and their targets, both (tokens,) each.

    What fills a block up comes after its rows, each token at position 0 and so seen by none.
    """
    blocks = plan_blocks([len(row) for row in rows], longest_block)
    width = max(sum(len(rows[number]) for number in block) for block in blocks)
    packed = {
        "input_ids": torch.full((len(blocks), width), pad_token_id),
        "position_ids": torch.zeros((len(blocks), width), dtype=torch.int64),
        "targets": torch.full((len(blocks), width), NOT_PREDICTED),
    }
    for at, block in enumerate(blocks):
        columns = {
            "input_ids": [rows[number] for number in block],
            "position_ids": [np.arange(len(rows[number])) for number in block],
            "targets": [targets[number] for number in block],
        }
        for name, parts in columns.items():
            laid = np.concatenate(parts).astype(np.int64)
            packed[name][at, : len(laid)] = torch.from_numpy(laid)
    return packed
