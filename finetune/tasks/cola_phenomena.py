"""Which of 15 grammatical phenomena a sentence of CoLA's dev rows shows (Warstadt and Bowman 2019): several at once."""

from finetune.task import Layout, Source, Task
from finetune.tasks.cola import TASK as COLA
from finetune.tasks.multilabel import TASK as MULTILABEL

assert COLA.annotations is not None

TASK = Task(
    name="cola-phenomena",
    title="Grammatical phenomena (CoLA annotations)",
    objective="multilabel",
    metrics=MULTILABEL.metrics,
    primary_metric="macro_f1",
    source=Source(
        folder=COLA.annotations.folder,
        files={"train": (COLA.annotations.file,)},
        layout=Layout(text="Sentence", labels=COLA.annotations.columns),
        licence="none stated",
    ),
    demo=("Who did you think that Mary saw?", "Close the door!", "The book was given to him."),
)
