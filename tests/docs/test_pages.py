"""Every code block of every page runs, and prints what the page shows."""

import contextlib
import io
import json
import os
import subprocess
import sys
from copy import deepcopy

import pytest
from page_blocks import DOCS, ROOT, blocks_of, pages, words_and_numbers

import framework

PAGES = pages()
START = "getting-started.md"
OWN_TESTS = {  # pages of which a test of their own runs the blocks of these languages
    "command-line.md": ("tests/cli/test_command_line_page.py", {"bash"}),
    "configuration.md": ("tests/config/test_configuration_page.py", {"bash", "yaml"}),
    "distributed.md": ("tests/docs/test_distributed_page.py", {"bash", "yaml"}),
    "loop.md": ("tests/flows/test_loop_page.py", {"python"}),
    "migration.md": ("tests/flows/test_migration_page.py", {"python"}),
    "mistakes.md": ("tests/flows/test_mistakes_page.py", {"python"}),
    "report.md": ("tests/report/test_report_page.py", {"bash"}),
    "templates.md": ("tests/templates/test_templates_page.py", {"bash"}),
}
COMMANDS = """
import contextlib, io, json, os, re, shlex, subprocess, sys
from framework import main
ECHO = 'cd() { printf "%q " cd "$@"; echo; }; framework() { printf "%q " framework "$@"; echo; }; set -eu; PATH=;'
def calls(code):  # a line, or a loop, after the other, as bash reads it: it spreads variables and names of files
    for part in re.findall(r"^for .*?^done$|^.+?$", code, re.DOTALL | re.MULTILINE):
        read = subprocess.run(["bash", "-c", ECHO + part], stdout=subprocess.PIPE, text=True)
        yield from ("" if read.returncode else read.stdout).splitlines() or ["cannot " + part]
printed = []
for code in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for line in calls(code):
            verb, *words = shlex.split(line)
            if verb == "cd":
                os.chdir(*words)
            elif verb != "framework" or main(words) != 0:
                sys.exit(f"failed: {line}")
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def run_elsewhere(page):
    return OWN_TESTS.get(page, ("", set()))[1]


def blocks_in(language, *, run):
    """Returns pages with their blocks of a language that run here, or those that are not run anywhere."""
    found = {page: [block for block in blocks_of(text) if block.language == language] for page, text in PAGES.items()}
    chosen = {page: [block for block in blocks if block.is_run == run] for page, blocks in found.items()}
    return {page: blocks for page, blocks in chosen.items() if blocks and not (run and language in run_elsewhere(page))}


PYTHON = blocks_in("python", run=True)
NOT_RUN = [(page, block) for page, blocks in blocks_in("python", run=False).items() for block in blocks]
BASH = blocks_in("bash", run=True)


def run_python(page, block, names):
    """Runs a block; returns what it prints. Tracebacks have its lines in the page."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * block.line + block.code, DOCS / page, "exec"), names)
    return printed.getvalue()


@pytest.fixture(scope="module")
def set_up():
    """What the other pages take for granted, as they say: the blocks marked as set-up in Getting started, and public names."""
    names = {"__name__": "__main__", **{name: getattr(framework, name) for name in framework.__all__}}
    for block in blocks_of(PAGES[START]):
        if block.marker == "set-up":
            run_python(START, block, names)
    return names


def compare(page, block, printed):
    """Compares what a block prints with what the page shows, if it does."""
    if block.shown is not None:
        words, numbers = words_and_numbers(printed)
        shown_words, shown_numbers = words_and_numbers(block.shown)
        place = f"docs/{page}, line {block.line}, printed:\n{printed}"
        assert words == shown_words, place
        assert numbers == pytest.approx(shown_numbers, rel=0.02), place


@pytest.mark.parametrize("page", PYTHON)
def test_python_runs_and_prints_what_is_shown(page, set_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write a run
    framework.seed_all(0)
    names = {"__name__": "__main__"} if page == START else {**set_up, "model": deepcopy(set_up["model"])}
    for block in PYTHON[page]:
        compare(page, block, run_python(page, block, names))


@pytest.mark.parametrize("page", BASH)
def test_commands_run_and_print_what_is_shown(page, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps([block.code for block in BASH[page]])],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for block, printed in zip(BASH[page], json.loads(done.stdout), strict=True):
        compare(page, block, printed)


@pytest.mark.parametrize(("page", "block"), NOT_RUN)
def test_what_cannot_run_here_is_python_all_the_same(page, block):
    compile(block.code, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_forgotten(page):
    for block in blocks_of(PAGES[page]):
        here = {"python", "bash", "text", ""}  # the last two are no code
        assert block.language in here | run_elsewhere(page) or not block.is_run, f"docs/{page}, line {block.line}"
    assert PAGES[page].count("\n```") == 2 * len(blocks_of(PAGES[page])), f"docs/{page}: a block that is not seen"


@pytest.mark.parametrize(("page", "test"), [(page, test) for page, (test, _) in OWN_TESTS.items()])
def test_the_tests_that_run_the_rest_are_there(page, test):
    assert page in PAGES
    assert page in (ROOT / test).read_text()


def test_a_reason_is_given_for_each_block_that_is_not_run():
    not_run = [block.marker for text in PAGES.values() for block in blocks_of(text) if not block.is_run]
    assert not_run
    assert all(len(marker) > len("not run: needs") for marker in not_run)
