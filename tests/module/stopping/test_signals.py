import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from framework.engine.state import State
from framework.module.result import FitResult
from framework.module.stopping import signals as signals_file
from framework.module.stopping.signals import Interrupted, StopSignals, is_interactive

TAKEN = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def usual_handlers():
    """What a plain Python process has, whatever the tests were started with."""
    before = {number: signal.getsignal(number) for number in TAKEN}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in TAKEN]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "\nfinishing the step; press again to stop now\n"),
        (signal.SIGTERM, "\nSIGTERM: finishing the step; a second signal stops now\n"),
        (signal.SIGUSR1, "\nSIGUSR1: finishing the step; a second signal stops now\n"),
    ],
)
def test_the_first_signal_is_noted_and_said(capfd, number, said):
    before = handlers()
    with StopSignals(requeue=True) as signals:
        assert signals.asked is None
        os.kill(os.getpid(), number)
        assert signals.asked is number
    assert capfd.readouterr() == ("", said)
    assert handlers() == before


def test_sigusr1_is_taken_only_if_told():
    with StopSignals():
        assert handlers()[2] is signal.SIG_DFL


def test_a_signal_that_the_system_lacks_is_left_out(monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR1")
    with StopSignals(requeue=True) as signals:
        signal.raise_signal(signal.SIGTERM)
    assert signals.asked is signal.SIGTERM


def test_the_first_signal_calls_with_the_interrupted_frame():
    frames = []
    with StopSignals(frames.append) as signals:
        signal.raise_signal(signal.SIGINT)
    assert [frame.f_code.co_name for frame in frames] == ["test_the_first_signal_calls_with_the_interrupted_frame"]
    assert signals.asked is signal.SIGINT


@pytest.mark.parametrize("first", TAKEN)
@pytest.mark.parametrize("second", TAKEN)
def test_the_second_signal_stops_at_once(first, second):
    before, calls = handlers(), []
    with StopSignals(calls.append, requeue=True) as signals:
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt if second == signal.SIGINT else SystemExit) as caught:
            signal.raise_signal(second)
        assert handlers() == before
    assert getattr(caught.value, "code", None) == {signal.SIGTERM: 143, signal.SIGUSR1: 138}.get(second)
    assert signals.asked is first
    assert len(calls) == 1


def test_a_terminal_that_is_gone_does_not_matter(monkeypatch):
    def gone(descriptor, text):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", gone)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
    assert signals.asked is signal.SIGTERM


def test_an_earlier_handler_is_called_once_when_told():
    calls = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append((number, frame)))
    with StopSignals() as signals:
        signals.chain()
        assert calls == []
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert calls == []
        signals.chain()
        signals.chain()
    assert calls == [(15, None)]
    assert type(calls[0][0]) is int


def test_the_usual_handlers_are_not_called():
    for number in TAKEN:
        with StopSignals(requeue=True) as signals:
            signal.raise_signal(number)
        signals.chain()


def test_a_run_inside_a_run_hands_the_signal_on():
    with StopSignals() as outer:
        with StopSignals() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert outer.asked is None
        inner.chain()
        assert outer.asked is signal.SIGTERM


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
    assert signals.asked is None
    assert handlers()[0] is signal.SIG_IGN


def test_a_handler_of_c_code_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: pytest.fail("it was replaced"))
    with StopSignals(requeue=True):
        pass


def test_a_handler_put_in_place_during_the_run_stays():
    def own(number, frame): ...

    with StopSignals():
        signal.signal(signal.SIGTERM, own)
    assert handlers()[1] is own


def test_outside_the_main_thread_signals_are_left_alone_and_that_is_said_once(capfd):
    signals_file._tell_left_alone.cache_clear()
    before, seen = handlers(), []

    def run():
        with StopSignals() as signals:
            seen.append(handlers())
        signals.chain()

    for _ in range(2):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert seen == [before, before]
    said = capfd.readouterr().err
    assert said.count("fit runs outside the main thread") == 1
    assert said.count("\n") == 1


def test_a_forked_process_gets_its_signals_as_before(capfd):
    def wait():
        here.send(None)
        here.recv()

    there, here = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=wait)
    with StopSignals() as signals:
        process.start()
        there.recv()
        process.terminate()
        process.join()
    assert process.exitcode == -signal.SIGTERM
    assert signals.asked is None
    assert capfd.readouterr().err == ""


def test_an_interrupted_run_ends_the_process_in_silence():
    program = (
        "import signal\nfrom framework import FitResult, State\nfrom framework.module.stopping.signals import Interrupted\n"
        "raise Interrupted(signal.SIGTERM, FitResult('interrupted', 'Why.', State(), {}, [], {}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_an_interrupted_run_says_what_it_is(asked, code):
    end = Interrupted(
        asked, FitResult("interrupted", "interrupt() was called in iteration 3.", State(), {"train/loss": 2.0}, [], {})
    )
    for each in (end, pickle.loads(pickle.dumps(end))):
        assert (each.code, each.asked) == (code, asked)
        assert each.result.metrics == {"train/loss": 2.0}
        assert str(each) == "interrupt() was called in iteration 3."


def test_a_signal_to_a_run_that_is_over_says_so():
    end = Interrupted(signal.SIGTERM, FitResult("completed", "max_epochs=2 was reached.", State(), {}, [], {}))
    assert str(end) == "SIGTERM came when the run was over: max_epochs=2 was reached."


def test_a_script_is_not_interactive_and_a_prompt_is(monkeypatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert not is_interactive()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert is_interactive()


def test_a_script_that_ends_in_a_prompt_is_interactive(monkeypatch):
    monkeypatch.setattr(signals_file, "sys", SimpleNamespace(flags=SimpleNamespace(interactive=1)))
    assert is_interactive()
