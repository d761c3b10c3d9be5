import io
import os
import subprocess
import sys
import types
import warnings

import pytest
from screens import Terminal

from framework.handlers.bar import Bar, in_notebook, unshared


@pytest.fixture
def sit_at(monkeypatch):
    """Makes a terminal the place of both streams; to be called in the test, since pytest sets them between its phases."""

    def sit_at(terminal):
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return sit_at


def test_a_bar_is_drawn_over_itself(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1/2", 8, sys.stdout)
    bar.draw(4, "")
    assert [line.split("[")[0] for line in terminal.lines] == ["epoch 1/2  50%|█████     | 4/8 "]
    bar.draw(6, "loss 0.5")
    assert terminal.lines[0].endswith("it/s, loss 0.5]")
    bar.draw(6, "loss 0.4")
    assert terminal.lines[0].endswith("it/s, loss 0.4]")
    bar.close()
    assert terminal.lines == [""]


def test_without_a_total_it_counts(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", None, sys.stdout)
    bar.draw(3, "")
    assert terminal.lines[0].startswith("epoch 1 3 [")
    bar.close()


def test_a_bar_that_is_left_is_a_line(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 4, sys.stdout, initial=1)
    bar.close(leave=True)
    assert [line.split("[")[0] for line in terminal.lines] == ["epoch 1  25%|██▌       | 1/4 ", ""]


def test_the_rate_is_that_of_what_is_new(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 400, sys.stdout, initial=200)
    bar.draw(200, "")
    assert "?it/s" in terminal.lines[0]
    bar.close()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_printed_stands_above_the_bar(sit_at, name):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 4, unshared(sys.stdout))
    bar.draw(1, "")
    print("one", "line", file=getattr(sys, name))
    assert terminal.lines == ["one line", ""]
    bar.draw(2, "")
    assert [line[:7] for line in terminal.lines] == ["one lin", "epoch 1"]
    getattr(sys, name).writelines(["two\n", "three\n"])
    bar.close()
    assert terminal.lines == ["one line", "two", "three", ""]


def test_a_line_that_is_not_ended_is_not_drawn_over(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 4, unshared(sys.stdout))
    sys.stdout.write("a question? ")
    sys.stdout.write("")
    bar.draw(1, "")
    assert [line[:12] for line in terminal.lines] == ["a question?", "epoch 1  25%"]
    sys.stdout.write("half")
    bar.close()
    assert terminal.lines == ["a question?", "half", ""]


def test_the_streams_are_put_back(sit_at):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 4, sys.stdout)
    shared = sys.stdout
    assert shared is not terminal
    assert (shared.isatty(), unshared(shared), unshared(terminal)) == (True, terminal, terminal)
    bar.close()
    assert (sys.stdout, sys.stderr) == (terminal, terminal)
    print("written by one who has kept the stream", file=shared)
    assert terminal.lines[0].startswith("written")


def test_a_stream_that_someone_has_replaced_meanwhile_stays(sit_at, monkeypatch):
    sit_at(Terminal())
    bar = Bar("epoch 1", 4, sys.stdout)
    other = Terminal()
    monkeypatch.setattr(sys, "stdout", other)
    bar.close()
    assert sys.stdout is other


def test_a_stream_that_is_no_terminal_is_left_alone(sit_at, monkeypatch):
    sit_at(Terminal())
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    bar = Bar("epoch 1", 4, sys.stdout)
    assert sys.stderr is file
    bar.close()


def test_a_bar_may_take_the_place_of_another_one(sit_at):
    terminal = sit_at(Terminal())
    below = Bar("epoch 1", 4, sys.stdout)
    below.draw(4, "")
    bar = Bar("epoch 1 val", 2, unshared(sys.stdout), over=below)
    bar.draw(1, "")
    assert [line[:15] for line in terminal.lines] == ["epoch 1 val  50"]
    sys.stdout.write("printed\n")
    assert terminal.lines == ["printed", ""]
    bar.draw(2, "")
    bar.close()
    assert terminal.lines == ["printed", ""]
    below.draw(4, "")
    assert [line[:12] for line in terminal.lines] == ["printed", "epoch 1 100%"]
    below.close()


def test_a_process_that_was_forked_leaves_the_bar_alone(sit_at, monkeypatch):
    terminal = sit_at(Terminal())
    bar = Bar("epoch 1", 4, sys.stdout)
    bar._pid = os.getpid() + 1
    sys.stdout.write("from a worker\n")
    assert "epoch 1" in terminal.lines[0]
    bar.close()


def test_no_thread_watches_the_bar():
    code = "import sys, threading; from framework.handlers.bar import Bar; Bar('a', 4, sys.stderr); print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "1\n"


# Notebooks


def shell(**config):
    return types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config=config))


@pytest.mark.parametrize(
    ("ipython", "found"),
    [(shell(IPKernelApp={}), True), (shell(), False), (types.SimpleNamespace(get_ipython=lambda: None), False), (None, False)],
    ids=["kernel", "terminal", "no shell", "no IPython"],
)
def test_a_notebook_is_told_by_its_shell(monkeypatch, ipython, found):
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert in_notebook() is found


def test_a_notebook_without_widgets_gets_a_bar_of_text(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tqdm.auto")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "IPython", shell(IPKernelApp={}))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    out = Terminal()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bar = Bar("epoch 1", 4, out)
    assert "0/4" in out.lines[0]
    bar.close()
