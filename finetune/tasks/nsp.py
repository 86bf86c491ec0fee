"""Next Sentence Prediction (Devlin et al. 2019) from news articles: B follows A, or comes from elsewhere."""

from finetune.task import Layout, Source, Task
from finetune.tasks.sst2 import TASK as SST2

TASK = Task(
    name="nsp",
    title="Next Sentence Prediction (BBC news)",
    objective="next_sentence",
    # In the order of BERT's own head.
    labels={"IsNext": "IsNext", "NotNext": "NotNext"},
    metrics=SST2.metrics,
    primary_metric="accuracy",
    source=Source(
        folder="bbc",
        files={"train": ("bbc.csv",)},
        layout=Layout(text="text"),
        licence="text BBC's, research use",
    ),
    demo=(
        ("The bank raised its rates on Thursday.", "Analysts had expected the decision."),
        ("The bank raised its rates on Thursday.", "The striker scored twice before half-time."),
    ),
)
