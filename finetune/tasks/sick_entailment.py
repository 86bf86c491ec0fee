"""SICK (Marelli et al. 2014): the second sentence follows from the first, contradicts it, or neither."""

from finetune.task import Layout, Source, Task
from finetune.tasks.text_classification import TASK as TEXT_CLASSIFICATION

TASK = Task(
    name="sick-entailment",
    title="Entailment between sentences (SICK)",
    labels={"ENTAILMENT": "entailment", "NEUTRAL": "neutral", "CONTRADICTION": "contradiction"},
    metrics=("accuracy", *(name for name in TEXT_CLASSIFICATION.metrics if name != "accuracy")),
    primary_metric="accuracy",
    source=Source(
        folder="sick",
        files={"train": ("train.tsv",), "test": ("dev.tsv",)},
        layout=Layout(text="sentence_A", text_pair="sentence_B", label="entailment_judgment", id="pair_ID"),
        licence="CC BY-NC-SA 3.0",
    ),
    demo=(
        ("A man is playing a guitar.", "A person is making music."),
        ("A man is playing a guitar.", "Nobody is playing a guitar."),
        ("A man is playing a guitar.", "A man is singing in the rain."),
    ),
)
