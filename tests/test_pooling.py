"""What a classifier reads of packed rows, where the model is a copy of another."""

import copy

import pytest
import torch

from finetune.pooling import pooled_logits
from tests.language_models import build_language_model
from tests.test_packing import lay_both, rows_of


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "gpt2"])
def test_a_copy_of_a_model_takes_packed_batches_beside_the_first(architecture: str) -> None:
    model = build_language_model(architecture, "classification")
    copied = copy.deepcopy(model)
    padded, packed = lay_both(architecture, rows_of([9, 1, 20, 5]), is_narrow=True)
    expected = pooled_logits(model, padded)[0]
    for one in (copied, model, copied):
        torch.testing.assert_close(pooled_logits(one, packed)[0], expected, atol=1e-5, rtol=1e-5)
