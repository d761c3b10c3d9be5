"""The site is built without a warning, has each public name once, and asks no other host for anything."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from page_blocks import DOCS, ROOT

import framework

NAMED_AS_THEIR_FILE = {"framework.main": "framework.cli.main.main", "framework.data.ordered": "framework.data.ordered.ordered"}
PUBLIC = [
    *(f"framework.{name}" for name in framework.__all__),
    "framework.data.Shares",
    "framework.data.order",
    "framework.data.ordered",
]
API = [NAMED_AS_THEIR_FILE.get(name, name) for name in PUBLIC]


def test_every_public_name_is_on_one_page_of_the_api():
    pages = [page.read_text() for page in sorted((DOCS / "api").glob("*.md"))]
    listed = [name for page in pages for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    assert sorted(listed) == sorted(API)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("mkdocs") is None:
        pytest.skip("needs mkdocs: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ".mkdocs.yml", "-d", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # a warning is an error; a link that leads nowhere is a warning
    return folder


def test_every_public_name_can_be_linked_to(site):
    text = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    assert [name for name in API if text.count(f'id="{name}"') != 1] == []


def test_doctests_are_shown_as_code(site):
    for page in site.rglob("*.html"):
        assert "<blockquote>" not in page.read_text(), page.name  # what ">>>" is in plain Markdown


def test_nothing_is_asked_of_another_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        links = re.findall(r'<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)="?([^"\s>]+)', text)
        assert [link for link in links if "//" in link] == [], page.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)]*", sheet.read_text()) == [], sheet.name
