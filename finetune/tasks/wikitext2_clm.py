"""Wikipedia articles for causal language modelling: those of WikiText-2's validation set train, those of its test set test."""

from finetune.task import Task
from finetune.tasks.causal_lm import TASK as CAUSAL_LM
from finetune.tasks.nsp_wikitext2 import TASK as NSP_WIKITEXT2

TASK = Task(
    name="wikitext2-clm",
    title="Causal language modelling (WikiText-2)",
    objective="causal_lm",
    metrics=CAUSAL_LM.metrics,
    primary_metric="token_loss",
    source=NSP_WIKITEXT2.source,
    demo=("The film was released in", "The battle began when"),
)
