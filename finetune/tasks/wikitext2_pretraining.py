"""BERT's two objectives together, masked tokens and the next sentence (Devlin et al. 2019), on Wikipedia articles."""

from finetune.task import Task
from finetune.tasks.masked_lm import TASK as MASKED_LM
from finetune.tasks.nsp import TASK as NSP
from finetune.tasks.nsp_wikitext2 import TASK as NSP_WIKITEXT2

TASK = Task(
    name="wikitext2-pretraining",
    title="Masked language modelling and Next Sentence Prediction (WikiText-2)",
    objective="pretraining",
    labels=NSP.labels,
    metrics=(*MASKED_LM.metrics, "next_sentence_accuracy", "next_sentence_loss"),
    primary_metric="token_loss",
    source=NSP_WIKITEXT2.source,
    demo=NSP.demo,
)
