"""Tiny language models without dropout, and texts for them."""

from functools import cache
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    XLMRobertaConfig,
)

from finetune.pooling import prepare_packing

VOCABULARY = 60
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
}
_ENCODER: dict[str, Any] = {**_SIZES, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_DECODER: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}


def _build_config(architecture: str) -> PretrainedConfig:
    tiny: dict[str, Any]
    if architecture == "gpt2":
        tiny = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128}
        return GPT2Config(
            **tiny, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=2, eos_token_id=3, pad_token_id=1
        )
    if architecture == "distilbert":
        tiny = {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
        return DistilBertConfig(**tiny, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, pad_token_id=1)
    encoders: dict[str, Any] = {
        "bert": BertConfig,
        "roberta": RobertaConfig,
        "xlm-roberta": XLMRobertaConfig,
        "gpt_neox": GPTNeoXConfig,
    }
    if architecture in encoders:
        return encoders[architecture](**_ENCODER)
    decoders: dict[str, Any] = {
        "llama": LlamaConfig,
        "mistral": MistralConfig,
        "qwen2": Qwen2Config,
        "qwen3": Qwen3Config,
    }
    return decoders[architecture](**_DECODER)


@cache
def build_language_model(
    architecture: str, head: str, attention: str = "sdpa", *, is_prepared: bool = True
) -> PreTrainedModel:
    """Return a model of random weights, larger than usual so that what it says differs from token to token.

    It takes packed batches where it `is_prepared` for them.
    """
    heads: dict[str, Any] = {
        "causal": AutoModelForCausalLM,
        "masked": AutoModelForMaskedLM,
        "pretraining": AutoModelForPreTraining,
        "classification": AutoModelForSequenceClassification,
    }
    torch.manual_seed(0)
    model = heads[head].from_config(_build_config(architecture), attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    if is_prepared:
        prepare_packing(model)
    return model.eval()


def gradients_of(model: PreTrainedModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradient of each parameter that has one."""
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
