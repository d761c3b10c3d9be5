import pytest

from framework.report.settings import flat_settings, monitored


def test_values_stay_as_they_are_written():
    text = "fit:\n  clip_norm: null\n  compile: false\n  lr: 1e-3\n  run_dir: no\n"
    assert flat_settings(text) == {"fit.clip_norm": "null", "fit.compile": "false", "fit.lr": "1e-3", "fit.run_dir": "no"}


def test_lists_of_mappings_are_numbered():
    text = "fit: {handlers: [{class_path: EMA, init_args: {decay: 0.9}}, Timers]}"
    assert flat_settings(text) == {
        "fit.handlers.0.class_path": "EMA",
        "fit.handlers.0.init_args.decay": "0.9",
        "fit.handlers.1": "Timers",
    }


def test_what_an_alias_repeats_is_not_repeated():
    bomb = "a: &a [x, x]\nb: &b {p: *a, q: *a}\nc: {p: *b, q: *b}\nd: &d [*d, {e: *d}]"
    found = flat_settings(bomb)
    assert len(found) < 10
    assert found["b.p"] == "(as above)"


def test_only_so_many_are_read():
    assert len(flat_settings("\n".join(f"k{index}: 1" for index in range(3_000)))) == 2_000


@pytest.mark.parametrize("text", [None, "", "a: [", "\t: x", "{" * 1_500, "? [a, b]\n: c", "!!python/object:os.system x"])
def test_what_is_no_mapping_gives_no_names(text):
    assert set(flat_settings(text)) <= {"?", ""}


def test_the_monitored_metric():
    assert monitored(flat_settings("fit: {monitor: val/loss}")) == "val/loss"
    assert monitored(flat_settings("fit: {monitor: null}")) is None
    assert monitored({}) is None
