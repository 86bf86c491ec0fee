"""Classification of the user's own pairs of texts: `data.path` and `data.columns` say where they are."""

from dataclasses import replace

from finetune.tasks.text_classification import TASK as TEXT_CLASSIFICATION

TASK = replace(TEXT_CLASSIFICATION, name="pair-classification", title="Classification of pairs of texts")
