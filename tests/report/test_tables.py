import math
import re

from run_folders import usual_run, write_checkpoint, write_run

from framework.report.reading import read_run
from framework.report.tables import (
    checkpoints,
    comparison,
    differing_settings,
    environment,
    history,
    metric_values,
    metrics_table,
    others,
)


def cells(text):
    """The rows of a table as texts."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_metrics_with_their_last_lowest_and_highest_value(tmp_path):
    assert cells(metrics_table(read_run(usual_run(tmp_path / "a")))) == [
        ["metric", "last", "lowest", "highest"],
        ["val/loss", "0.1667", "0.1667 at 20", "0.25 at 10"],
        ["val/accuracy monitored", "0.75", "0.5 at 10", "0.75 at 20"],
        ["train/loss", "0.06667", "0.06667 at 20", "0.2 at 10"],
    ]


def test_nan_is_neither_lowest_nor_highest_unless_there_is_nothing_else(tmp_path):
    rows = [{"iteration": index, "val/a": value, "val/b": math.nan} for index, value in enumerate((math.nan, 2.0, 1.0, math.inf))]
    found = cells(metrics_table(read_run(write_run(tmp_path / "a", rows=rows))))
    assert found[1:] == [["val/a", "∞", "1 at 2", "∞ at 3"], ["val/b", "NaN", "NaN at 0", "NaN at 0"]]


def test_a_metric_without_a_row_and_one_that_changed_its_type(tmp_path):
    run = read_run(write_run(tmp_path / "a", rows=[{"iteration": 1, "val/x": 0.5}], metrics={"test/y": 0.25, "val/x": "<img>"}))
    assert metric_values(run) == {"val/x": [(1, 0.5)], "test/y": [(1, 0.25)]}
    assert cells(metrics_table(run))[1][1] == "0.5"


def test_runs_are_compared_and_the_best_is_named_where_it_is_known_which_is(tmp_path):
    runs = [
        read_run(usual_run(tmp_path / "a")),
        read_run(usual_run(tmp_path / "b", factor=2.0)),
        read_run(write_run(tmp_path / "c")),
    ]
    found = cells(comparison(runs, ["A", "B", "C"]))
    assert found[0][1:] == ["A", "B", "C"]
    assert found[1] == ["val/loss", "best 0.16670.1667 \u2013 0.25", "0.33330.3333 \u2013 0.5", "\u2013"]
    assert found[2] == ["val/accuracy", "0.750.5 \u2013 0.75", "0.750.5 \u2013 0.75", "\u2013"]  # as good as each other


def test_for_the_monitored_metric_the_best_checkpoint_tells_which_side_is_better(tmp_path):
    folders = []
    for name, values in (("a", (0.5, 0.75)), ("b", (0.5, 0.8))):
        rows = [{"iteration": index, "val/x": value} for index, value in enumerate(values)]
        folders.append(write_run(tmp_path / name, rows=rows, config="fit: {monitor: val/x}"))
    write_checkpoint(folders[0], 0)
    write_checkpoint(folders[0], 1, best=True)
    found = cells(comparison([read_run(folder) for folder in folders], ["A", "B"]))
    assert [text.startswith("best") for text in found[1][1:]] == [False, True]
    write_checkpoint(folders[0], 0, best=True, number=1)
    (folders[0] / "checkpoints" / "step-00000001" / "manifest.json").unlink()
    write_checkpoint(folders[1], 0, best=True)
    rows = [{"iteration": 0, "val/x": 0.1}]
    lowest = [read_run(folders[0]), read_run(write_run(tmp_path / "c", rows=rows))]
    assert "best 0.1" in cells(comparison(lowest, ["A", "C"]))[1][2]


def test_a_metric_whose_better_side_nobody_knows_names_none(tmp_path):
    folders = [write_run(tmp_path / name, rows=[{"iteration": 1, "val/x": 0.5}]) for name in "ab"]
    assert "best" not in comparison([read_run(folder) for folder in folders], ["A", "B"])


def test_settings_that_differ(tmp_path):
    runs = [read_run(usual_run(tmp_path / name, lr=lr)) for name, lr in (("a", "0.1"), ("b", "1e-2"))]
    assert cells(differing_settings(runs, ["A", "B"])) == [["setting", "A", "B"], ["model.init_args.lr", "0.1", "1e-2"]]
    assert differing_settings(runs[:1] * 2, ["A", "A"]) == ""


def test_the_environment_says_once_what_all_processes_share(tmp_path):
    entries = [
        {"began": f"{hour}", "command": ["a.py", "--x y"], "goes_on_from": start, "torch": "2"}
        for hour, start in ((1, None), (2, 7))
    ]
    text = environment(read_run(write_run(tmp_path / "a", environment=entries)))
    assert "<dt><bdi>command</bdi></dt><dd>a.py &#x27;--x y&#x27;</dd><dt><bdi>torch</bdi></dt><dd>2</dd>" in text
    assert cells(text) == [["process", "began", "goes_on_from"], ["1", "1", "\u2013"], ["2", "2", "7"]]
    assert environment(read_run(write_run(tmp_path / "b"))) == ""


def test_processes_began_at_times_as_elsewhere_on_the_page(tmp_path):
    times = ["2026-11-22T00:13:59+00:00", "2026-11-22T03:00:00+02:00", "<soon>"]
    entries = [{"began": began, "command": ["a.py", str(index)]} for index, began in enumerate(times)]
    text = environment(read_run(write_run(tmp_path / "a", environment=entries)))
    assert [row[1] for row in cells(text)] == ["began", "2026-11-22 00:13 UTC", "2026-11-22 01:00 UTC", "&lt;soon&gt;"]


def test_checkpoints_link_to_their_folders(tmp_path):
    run = read_run(usual_run(tmp_path / "a b"))
    text = checkpoints(run, tmp_path)
    assert 'href="a%20b/checkpoints/step-00000020/"' in text
    assert cells(text) == [
        ["checkpoint", "iteration", "epoch", "val/accuracy"],
        ["step-00000020 best last", "20", "2", "0.75"],
        ["step-00000010", "10", "1", "0.5"],
    ]


def test_checkpoints_without_a_monitored_metric(tmp_path):
    folder = write_run(tmp_path / "a")
    (write_checkpoint(folder, 3) / "manifest.json").unlink()
    assert cells(checkpoints(read_run(folder), tmp_path)) == [
        ["checkpoint", "iteration", "epoch"],
        ["step-00000003 last", "3", "\u2013"],
    ]


def test_the_history_has_its_newest_rows(tmp_path):
    rows = [{"epoch": index, "iteration": index, "val/x": index / 2, "val/list": [1]} for index in range(502)]
    rows[-1]["val/x"] = "<b>"
    text = history(read_run(write_run(tmp_path / "a", rows=rows)))
    assert "The first 2 rows are in metrics.jsonl." in text
    found = cells(text)
    assert found[0] == ["epoch", "iteration", "val/x"]
    assert found[1] == ["2", "2", "1"]
    assert found[-1] == ["501", "501", "\u2013"]
    assert history(read_run(write_run(tmp_path / "b"))) == ""


def test_what_is_no_number_is_text(tmp_path):
    metrics = {
        "val/m": [[1, 20], [300, 0.5]],
        "val/d": {"<b>": 1},
        "val/s": "x" * 3_000,
        "val/f": True,
        "val/n": None,
        "val/x": 1.0,
    }
    text = others(read_run(write_run(tmp_path / "a", metrics=metrics)))
    assert "<pre>  1   20\n300  0.5</pre>" in text
    assert "{&quot;&lt;b&gt;&quot;: 1}" in text
    assert "x … and 1000 more characters</pre>" in text
    assert "<pre>True</pre>" in text
    assert "val/x" not in text
