import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from run_folders import usual_run, write_run

from framework.report.page import draw_report, run_names
from framework.report.reading import read_run

HOSTILE = '</script><img src=x onerror="alert(1)">\'&\u202e\u2028<!--'


class Reader(HTMLParser):
    """Collects what a page holds, and complains of elements that are not closed in their order."""

    EMPTY = frozenset(("meta", "link", "input", "path", "line"))

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(text)


def draw(*folders):
    return draw_report([read_run(folder) for folder in folders], folders[0].parent)


def hostile_run(folder):
    """Writes a run all of whose texts would like to be code."""
    name = f"train/{HOSTILE}"
    return write_run(
        folder,
        points=[(1, 1, 0.0, {name: 1.0, f"train/loss/{HOSTILE}": 2.0}), (2, 1, 1.0, {name: 2.0})],
        rows=[{"epoch": HOSTILE, "iteration": HOSTILE, "time_s": HOSTILE}, {"epoch": 1, "iteration": 2, HOSTILE: 1.0}],
        status=HOSTILE,
        reason=HOSTILE,
        metrics={HOSTILE: HOSTILE, "val/x": [HOSTILE, {HOSTILE: HOSTILE}], f"val/{HOSTILE}": 1.0},
        config=f"fit: {{monitor: {json.dumps(HOSTILE)}}}\n{HOSTILE}",
        environment=[{"began": HOSTILE, HOSTILE: HOSTILE, "command": [HOSTILE]}, {"began": 1, HOSTILE: [HOSTILE]}],
    )


def test_a_run_with_all_its_parts(tmp_path):
    page = draw(usual_run(tmp_path / "a"))
    found = Reader(page).texts
    assert "<h1><bdi>a</bdi></h1>" in page
    assert found["h2"] == ["Metrics", "Curves ", "How it ran ", "Settings", "Checkpoints", "Environment"]
    assert found["h3"] == ["loss", "accuracy", "learning rate", "iterations a second"]
    assert found["summary"] == ["History, 2 rows"]
    assert found["dd"][:4] == ["20", "2", "2023-11-14 22:13 UTC", "20.0 s"]
    assert "max_epochs=2 was reached." in found["p"]


def test_several_runs_over_each_other(tmp_path):
    page = draw(usual_run(tmp_path / "a"), usual_run(tmp_path / "b", factor=2.0, lr="0.2"))
    found = Reader(page).texts
    assert found["h1"] == ["2 runs"]
    assert found["h2"][:3] == ["Metrics", "Settings that differ", "Curves "]
    assert page.count('data-run="1" data-kind="0"') == 4
    assert page.count('class="run"') == 2


def test_style_and_script_are_inside_and_allowed_by_their_sums_alone(tmp_path):
    page = draw(usual_run(tmp_path / "a"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for kind, text in (
        ("style", re.search(r"<style>(.*?)</style>", page, re.S)[1]),
        ("script", re.search(r"<script>(.*?)</script>", page, re.S)[1]),
    ):
        assert f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    names = [name for name, _ in Reader(page).attributes]
    assert not [name for name in names if name == "style" or name.startswith("on")]


def test_it_names_no_other_address(tmp_path):
    page = draw(usual_run(tmp_path / "a"), usual_run(tmp_path / "b"))
    addresses = [value for name, value in Reader(page).attributes if name in ("href", "src", "action", "srcset")]
    assert addresses
    assert all(address == "data:," or re.match(r"^[ab]/(checkpoints/step-\d+/|metrics.jsonl)$", address) for address in addresses)
    assert re.findall(r"https?:[^\"' ;]*", page) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize("count", [1, 2])
def test_no_text_of_a_run_becomes_code(tmp_path, count):
    folders = [hostile_run(tmp_path / f"a{index} <img src=x onerror=alert(1)>&\"'") for index in range(count)]
    page = draw(*folders)
    usual = [usual_run(tmp_path / f"b{index}") for index in range(count)]
    found = Reader(page)
    assert set(found.tags) <= {*Reader(draw(*usual)).tags, "ul", "li", "pre"}
    assert "img" not in found.tags
    assert not {"\u202e", "\u2028"} & set(page)
    assert page.count("</script>") == page.count("<script") == 2
    assert json.loads(found.texts["script"][0])["runs"]


def test_a_run_that_has_just_begun(tmp_path):
    page = draw(write_run(tmp_path / "a", status="running", reason=""))
    assert "At work, or killed.</p>" in page
    assert "<figure" not in page
    Reader(page)


def test_a_run_at_work_says_when_it_wrote_last(tmp_path):
    page = draw(write_run(tmp_path / "a", status="running", reason="", points=[(1, 1, 1_700_000_000.0, {"train/loss": 0.5})]))
    assert "At work, or killed. Its last point is of 2023-11-14 22:13 UTC.</p>" in page


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [read_run(write_run(tmp_path / group / "digits")) for group in ("x", "y")]
    assert run_names(runs) == ["x/digits", "y/digits"]
    assert run_names(runs[:1]) == ["digits"]


def test_the_script_knows_where_epochs_begin(tmp_path):
    page = draw(usual_run(tmp_path / "a"))
    data = json.loads(Reader(page).texts["script"][0])
    assert data["epochs"] == [[0, 1], [11, 2], [21, 3]]
    assert data["x"] == [0.0, 20.0]
    both = draw(tmp_path / "a", usual_run(tmp_path / "b"))
    assert "epochs" not in json.loads(Reader(both).texts["script"][0])
