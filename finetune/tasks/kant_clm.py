"""Three books of Kant in English, each once, by paragraphs, for causal language modelling."""

from finetune.task import Task
from finetune.tasks.causal_lm import TASK as CAUSAL_LM
from finetune.tasks.kant_mlm import TASK as KANT_MLM

TASK = Task(
    name="kant-clm",
    title="Causal language modelling (Kant)",
    objective="causal_lm",
    metrics=CAUSAL_LM.metrics,
    primary_metric="token_loss",
    source=KANT_MLM.source,
    demo=("Human reason, in one sphere of its cognition,", "The moral law"),
)
