"""Complete a text by sampling from a causal language model.

Owns the settings of sampling and how they become those of transformers' generate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.errors import DataError
from finetune.text_features import find_end_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sampling:
    """How a text is gone on with.

    Attributes:
        max_new_tokens: stop after so many tokens, if the model doesn't end the text before.
        temperature: logits are divided by it; 0 takes the likeliest token each time.
        top_k: draw among so many likeliest tokens.
        seed: of the draws; the same text is gone on with alike under the same seed.
    """

    max_new_tokens: int = 40
    temperature: float = 1.0
    top_k: int = 40
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse settings under which nothing can be drawn."""
        for name, lowest in (("max_new_tokens", 1), ("temperature", 0), ("top_k", 1), ("seed", 0)):
            value = getattr(self, name)
            # Written so that a value which is not a number is refused too.
            if not value >= lowest:
                raise DataError(f"{name}: found {value}, allowed is {lowest} or more")


def complete_texts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    max_length: int,
    sampling: Sampling,
) -> list[str]:
    """Return how each text goes on, the text itself left out.

    Raises:
        DataError: a text and its new tokens are longer than `max_length`.
    """
    import torch
    from transformers import GenerationConfig

    begin, _ = find_end_tokens(tokenizer)
    drawing: dict[str, Any] = {"temperature": sampling.temperature, "top_k": sampling.top_k}
    settings = GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=sampling.temperature > 0,
        **(drawing if sampling.temperature > 0 else {}),
        bos_token_id=begin,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.eval()
    # Its type asks for a protocol that the library keeps to itself.
    generator: Any = model
    completions = []
    devices = [model.device] if model.device.type == "cuda" else []
    for text in texts:
        ids = [begin, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
        if len(ids) + sampling.max_new_tokens > max_length:
            raise DataError(
                f"a text of {len(ids)} tokens and {sampling.max_new_tokens} new ones are more than the {max_length} that "
                f"the model takes: {text[:60]!r}"
            )
        tokens = torch.tensor([ids], device=model.device)
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(sampling.seed)
            found = generator.generate(
                input_ids=tokens, attention_mask=torch.ones_like(tokens), generation_config=settings
            )
        new = found[0, len(ids) :]
        completions.append(str(tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)))
    return completions
