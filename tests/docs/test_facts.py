"""What the pages list is what there is: hooks, the loop, settings."""

import re
from inspect import getdoc

from page_blocks import DOCS, blocks_of

import framework
from framework.engine.state import COUNTERS
from framework.module.hooks import known_hooks
from framework.module.settings import FitSettings
from framework.module.step_events import StepEvents


def test_the_table_of_hooks_is_complete():
    table = (DOCS / "hooks.md").read_text().partition("## Every hook")[2].partition("\n\n`on_evaluation")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (?:`(\w+)` )?\| (?:(\w+) )?\|$", table, flags=re.MULTILINE)
    counted = {event: COUNTERS.get(event, "firings" if isinstance(event, StepEvents) else "") for event in known_hooks().values()}
    hooks = {name: ("".join(event.payload), counted[event]) for name, event in known_hooks().items()}
    assert {name: (argument, counter) for name, argument, counter in rows} == hooks


def test_the_loop_is_drawn_as_in_the_docstring_of_events():
    drawing, *_ = [block.code for block in blocks_of((DOCS / "concepts.md").read_text()) if block.language == "text"]
    assert drawing in getdoc(framework.Events)


def test_the_settings_that_are_named_exist():
    named = re.findall(r"`fit\((\w+)=", (DOCS / "handlers.md").read_text())
    assert len(named) > 10
    assert set(named) <= set(FitSettings.__dataclass_fields__)


def test_every_example_is_listed():
    page = (DOCS / "examples.md").read_text()
    examples = [path.name for path in (DOCS.parent / "examples").glob("*.py")]
    assert [name for name in examples if page.count(f"| [{name}](../examples/{name}) |") != 1] == []
