"""Pooling: what a classifier reads of each row of a packed batch, its first token or its last, and a last layer for those alone.

Owns that for every architecture of `packing`, by hooks on modules of transformers that act on packed batches only: how a model computes
stays the library's. Attention within rows is `packed_attention`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from finetune.packed_attention import ATTENTION
from finetune.packing import can_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.packing import Bounds


@dataclass(frozen=True)
class Narrowing:
    """Where the last layer may leave out the tokens that nobody reads.

    Attributes:
        layers: the list of layers, from the model's body.
        attention: of the last layer, the module that is told the bounds of a batch.
        module: of the last layer, the first after attention that takes each token by itself, all its inputs (1, tokens, width).
        widens: whether the tokens left out come back as zeros after it, since what follows adds them to others.
    """

    layers: str
    attention: str
    module: str
    widens: bool = False


NARROWINGS: Final = {
    "bert": Narrowing("encoder.layer", "attention", "attention.output"),
    "roberta": Narrowing("encoder.layer", "attention", "attention.output"),
    "xlm-roberta": Narrowing("encoder.layer", "attention", "attention.output"),
    "distilbert": Narrowing("transformer.layer", "attention", "sa_layer_norm"),
    "gpt2": Narrowing("h", "attn", "mlp", widens=True),
}


class _Rows:
    """The bounds of the batch that is in the last layer, for modules that aren't told; None where it isn't packed.

    Its hooks are methods, so that a copy of the model has bounds of its own.
    """

    bounds: "Bounds | None" = None

    def note(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Remember the bounds that attention is called with, again where the layer is recomputed for its gradient."""
        self.bounds = named.get("packed_bounds")

    def narrow_to_first(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Let a module, and all after it, see the first token of each row alone, as (rows, 1, width)."""
        if self.bounds is None or not self.bounds["is_narrow"]:
            return inputs
        starts = self.bounds["starts"]
        return tuple(tensor[0, starts][:, None] for tensor in inputs)

    def narrow_to_last(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Let a module see the last token of each row alone, as (1, rows, width)."""
        if self.bounds is None or not self.bounds["is_narrow"]:
            return inputs
        ends = self.bounds["ends"]
        return tuple(tensor[:, ends] for tensor in inputs)

    def widen(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Let what follows see zeros in place of the tokens that were left out, as (1, tokens, width)."""
        if self.bounds is None or not self.bounds["is_narrow"]:
            return output
        whole = output.new_zeros(1, len(self.bounds["cells"]), output.shape[-1])
        return whole.index_copy(1, self.bounds["ends"], output)

    def pick_first(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Let a pooler, which takes what stands first of each row, see packed rows so: (rows, 1, width)."""
        if self.bounds is None or self.bounds["is_narrow"]:
            return inputs
        return (inputs[0][0, self.bounds["starts"]][:, None],)


def prepare_packing(model: "PreTrainedModel") -> None:
    """Let a model take packed batches, where its architecture is known; padded ones it computes as before."""
    if not can_pack(model.config, longest=0):
        return
    model.set_attn_implementation(ATTENTION)
    narrowing = NARROWINGS.get(model.config.model_type)
    if narrowing is None:
        return
    body, rows = model.base_model, _Rows()
    layers = cast(nn.ModuleList, body.get_submodule(narrowing.layers))
    if not len(layers):
        return
    layer = layers[-1]
    layer.get_submodule(narrowing.attention).register_forward_pre_hook(rows.note, with_kwargs=True)
    module = layer.get_submodule(narrowing.module)
    module.register_forward_pre_hook(rows.narrow_to_last if narrowing.widens else rows.narrow_to_first)
    if narrowing.widens:
        module.register_forward_hook(rows.widen)
    if isinstance(pooler := getattr(body, "pooler", None), nn.Module):
        pooler.register_forward_pre_hook(rows.pick_first)


def pooled_logits(model: nn.Module, batch: dict[str, Any], **options: bool) -> tuple[Tensor, Any]:
    """Return a classifier's logits (rows, labels) of a padded or packed batch, and the model's outputs.

    `model` may be wrapped for several processes: it is called as it was passed.
    """
    bounds = batch.get("packed_bounds")
    score = getattr(extract_model_from_parallel(model, keep_torch_compile=False), "score", None)
    if bounds is None or not isinstance(score, nn.Module):
        outputs = model(**batch, **options)
        return outputs.logits, outputs
    # A decoder's classifier looks for the last token of each row of a table, and finds one row here.
    found: list[Tensor] = []
    hook = score.register_forward_hook(lambda _, inputs, output: found.append(output[0, bounds["ends"]]))
    try:
        outputs = model(**batch, **options)
    finally:
        hook.remove()
    return found[0], outputs
