"""Causal language modelling of the user's own texts: a .txt file, or the text column of a table."""

from finetune.task import Task

TASK = Task(
    name="causal-lm",
    title="Causal language modelling",
    objective="causal_lm",
    metrics=("token_loss", "perplexity", "token_accuracy", "bits_per_byte"),
    primary_metric="token_loss",
)
