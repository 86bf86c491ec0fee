"""Three books of Kant in English, each once, by paragraphs, for masked language modelling (Rothman's KantaiBERT)."""

from finetune.task import Layout, Source, Task
from finetune.tasks.masked_lm import TASK as MASKED_LM

TASK = Task(
    name="kant-mlm",
    title="Masked language modelling (Kant)",
    objective="masked_lm",
    metrics=MASKED_LM.metrics,
    primary_metric="token_loss",
    source=Source(
        folder="kant",
        files={"train": ("kant.txt",)},
        layout=Layout(text="text", documents="paragraph"),
        licence="public domain in the US (Project Gutenberg)",
    ),
    demo=("Human thinking involves human <mask>.", "The <mask> of pure reason."),
)
