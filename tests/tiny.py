"""Tiny checkpoints and small learnable data sets, built in-process: nothing is downloaded, a step takes milliseconds."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.checkpoint import Checkpoint
    from finetune.model import LoadedModel

WORDS = """
the a dog cat bird horse farmer teacher sees likes finds hears red old small quick in on under garden house road
never often today slowly and but with without every some many few
""".split()
MARKS = {"acceptable": ("walks", "sings"), "unacceptable": ("walk", "sing")}


def build_sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (sentence, label) pairs; one word of each sentence tells its label, so that a tiny model can learn it."""
    generator = random.Random(seed)
    found = []
    for number in range(rows):
        label = "acceptable" if generator.random() < 0.6 else "unacceptable"
        words = generator.choices(WORDS, k=generator.randint(3, 12))
        words.insert(generator.randint(0, len(words)), generator.choice(MARKS[label]))
        found.append((f"{' '.join(words)} {number}".capitalize() + ".", label))
    return found


def write_rows(path: Path, rows: int, seed: int = 0) -> Path:
    """Write a CSV file with columns text and label."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(build_sentences(rows, seed))
    return path


def write_cola_like(root: Path, train: int = 640, dev: int = 40) -> Path:
    """Write the files of the CoLA tasks, raw and book, into a stand-in for $FINETUNE_DATA."""
    for folder, names in {
        "cola": ("in_domain_train", "in_domain_dev", "out_of_domain_dev"),
        "cola/book": ("in_domain_train", "out_of_domain_dev"),
    }.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            lines = [
                f"src\t{int(label == 'acceptable')}\t{'' if label == 'acceptable' else '*'}\t{text}\n"
                for text, label in build_sentences(train if number == 0 else dev, seed=number)
            ]
            (root / folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return root


def build_tiny_checkpoint(family: str, folder: Path, dropout: float = 0.1, layers: int = 2) -> Path:
    """Write a randomly initialised checkpoint of an architecture family with a tokenizer trained on the toy sentences."""
    import torch
    from transformers import AutoModel, BertConfig, DistilBertConfig, GPT2Config, RobertaConfig

    tokenizer = _train_tokenizer(family)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if family == "bert":
        config: Any = BertConfig(**sizes, **dropouts, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id)
    elif family == "distilbert":
        config = DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=32,
            n_layers=layers,
            n_heads=2,
            hidden_dim=64,
            dropout=dropout,
            attention_dropout=dropout,
            seq_classif_dropout=dropout,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
    elif family == "roberta":
        config = RobertaConfig(
            **sizes,
            **dropouts,
            max_position_embeddings=66,
            type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    else:
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=layers,
            n_head=2,
            n_positions=64,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_classifier(checkpoint: "Checkpoint", labels: Sequence[str], *, may_draw_head: bool = True) -> "LoadedModel":
    """Return a checkpoint as a classifier of these labels."""
    from finetune.batching import Collator
    from finetune.model import load_model
    from finetune.objectives.classification import Classification
    from finetune.start import open_start

    start = open_start(checkpoint)
    return load_model(start, Classification(start.tokenizer, 64, Collator(0)), labels, may_draw_head=may_draw_head)


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """Return the tokenizer of a tiny checkpoint."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **options)


def _train_tokenizer(family: str) -> Any:
    from transformers import GPT2Tokenizer, RobertaTokenizer

    from finetune.recipe_sections import TokenizerSettings
    from finetune.tokenizer_training import train_tokenizer

    texts = [text for text, _ in build_sentences(400)]
    if family in ("bert", "distilbert"):
        # Ours, since the library's word pieces differ from process to process.
        architecture: Any = family
        tokenizer: Any = train_tokenizer(texts, architecture, TokenizerSettings(vocabulary=300))
    else:
        kind = {"gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}[family]
        tokenizer = kind().train_new_from_iterator(texts, vocab_size=300)
    tokenizer.model_max_length = 64
    return tokenizer
