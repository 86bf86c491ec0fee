"""SICK (Marelli et al. 2014): how much two sentences have to do with each other, from 1 to 5."""

from finetune.task import Layout, Source, Task
from finetune.tasks.regression import TASK as REGRESSION
from finetune.tasks.sick_entailment import TASK as SICK_ENTAILMENT

TASK = Task(
    name="sick-relatedness",
    title="Relatedness of sentences, 1 to 5 (SICK)",
    objective="regression",
    metrics=REGRESSION.metrics,
    primary_metric="pearson",
    source=Source(
        folder="sick",
        files={"train": ("train.tsv",), "test": ("dev.tsv",)},
        layout=Layout(text="sentence_A", text_pair="sentence_B", label="relatedness_score", id="pair_ID"),
        licence="CC BY-NC-SA 3.0",
    ),
    demo=SICK_ENTAILMENT.demo,
)
