"""Masked language modelling of the user's own texts: a .txt file, or the text column of a table."""

from finetune.task import Task

TASK = Task(
    name="masked-lm",
    title="Masked language modelling",
    objective="masked_lm",
    metrics=("token_loss", "perplexity", "token_accuracy"),
    primary_metric="token_loss",
)
