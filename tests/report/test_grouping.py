import pytest

from framework.report.grouping import SPEED, WATCHED, places


def drawn(*names):
    return {name: tuple(place) for name, place in places(names).items()}


def test_stages_of_a_metric_share_a_chart():
    assert drawn("train/loss", "val/loss", "test/loss") == {
        "train/loss": ("loss", "train"),
        "val/loss": ("loss", "val"),
        "test/loss": ("loss", "test"),
    }


def test_data_sets_are_known_by_a_metric_of_training_or_by_each_other():
    assert drawn("train/loss", "val/a/loss", "val/a/accuracy")["val/a/accuracy"] == ("accuracy", "val/a")
    assert drawn("val/a/accuracy", "val/b/accuracy")["val/b/accuracy"] == ("accuracy", "val/b")
    assert drawn("val/acc/top1", "val/acc/top5")["val/acc/top5"] == ("acc", "val/top5")


def test_parts_of_a_metric_are_no_data_sets():
    names = ("train/loss/critic", "train/loss/generator", "val/loss/critic", "val/fid/critic")
    assert drawn(*names)["val/loss/critic"] == ("loss", "val/critic")


def test_parts_of_the_metric_of_a_data_set():
    assert drawn("train/acc/top1", "val/a/acc/top1")["val/a/acc/top1"] == ("acc", "val/a/top1")


@pytest.mark.parametrize(
    ("name", "title", "label"),
    [
        ("train/lr", "learning rate", "train"),
        ("train/lr/main/0", "learning rate", "train/main/0"),
        ("train/time/samples_per_s", "samples a second", "train/samples_per_s"),
        ("train/time/data_s", "seconds an iteration", "train/data_s"),
        ("train/layer_grad_norm/net.0", "gradient norm of layers", "train/net.0"),
        ("train/memory/rss_mib", "memory, MiB", "train/rss_mib"),
    ],
)
def test_what_handlers_watch_has_a_title_in_words(name, title, label):
    assert drawn(name)[name] == (title, label)
    assert title in WATCHED


@pytest.mark.parametrize("name", ["loss", "", "/", "a/", "//", "train//x"])
def test_any_name_has_a_place(name):
    assert name in drawn(name)


def test_a_metric_of_evaluation_is_not_taken_for_a_watched_one():
    assert drawn("val/lr")["val/lr"] == ("lr", "val")
    assert SPEED in WATCHED
