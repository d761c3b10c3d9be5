"""Whose frames a user sees."""

import linecache
import subprocess
import sys
import sysconfig
import traceback

import pytest
import torch

from framework import ModuleError, TrainModule
from framework.tracebacks import FULL, folded, warn_user

OURS = {"__name__": "framework.pretended"}  # the globals of a function that counts as the framework's


def ours(source, **names):
    """Makes the function `call` of the framework out of its source."""
    space = {**OURS, "folded": folded, **names}
    exec(compile(source, "framework/pretended.py", "exec"), space)
    return space["call"]


def frames(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def caught(kind, call, *arguments):
    with pytest.raises(kind) as info:
        call(*arguments)
    return info.value


CALLS_ALONE = """
def call(function):
    return function()
"""

CALLS = """
def inside(function):
    return function()

def call(function):
    with folded():
        return inside(function)
"""


def user_raises():
    raise OSError("the user's")


def test_of_a_users_error_only_the_users_frames_stay():
    error = caught(OSError, ours(CALLS), user_raises)
    assert frames(error) == ["caught", "user_raises"]
    assert str(error) == "the user's"


def test_an_error_of_the_framework_ends_at_the_users_call():
    refuse = ours("def call():\n    raise ModuleError('no')", ModuleError=ModuleError)
    assert frames(caught(ModuleError, ours(CALLS), refuse)) == ["caught"]


def test_a_refusal_shows_the_users_frame_that_asked_for_it():
    refuse = ours("def call():\n    raise ModuleError('no')", ModuleError=ModuleError)

    def user_asks():
        refuse()

    assert frames(caught(ModuleError, ours(CALLS), user_asks)) == ["caught", "user_asks"]


def test_what_a_library_raises_shows_the_call_that_led_there():
    error = caught(RuntimeError, ours(CALLS), torch.ones(1, requires_grad=True).sum().detach().backward)
    assert frames(error)[:2] == ["caught", "inside"]
    assert "framework" not in "".join(frame.filename for frame in traceback.extract_tb(error.__traceback__)[2:])


def test_another_error_of_the_framework_shows_its_two_innermost_frames():
    fails = ours("def deeper():\n    return 1 / 0\n\ndef call():\n    return deeper()")
    assert frames(caught(ZeroDivisionError, ours(CALLS), fails)) == ["caught", "call", "deeper"]


def test_frames_of_torch_that_only_hand_on_are_left_out():
    class Fails(torch.nn.Module):
        def forward(self, x):
            raise OSError

    error = caught(OSError, ours(CALLS), lambda: torch.nn.Sequential(Fails())(1))
    assert frames(error) == ["caught", "<lambda>", "forward", "forward"]


def test_causes_are_folded_as_well():
    source = """
def refuse(function):
    try:
        function()
    except OSError as error:
        raise ModuleError("no") from error

def call(function):
    with folded():
        refuse(function)
"""
    error = caught(ModuleError, ours(source, ModuleError=ModuleError), user_raises)
    assert frames(error) == ["caught"]
    assert frames(error.__cause__) == ["user_raises"]


def test_the_errors_of_a_group_are_folded_as_well():
    def refused():
        ours(CALLS_ALONE)(user_raises)

    def user_gathers():
        with pytest.raises(OSError, match="user's") as info:
            refused()
        raise ExceptionGroup("several", [info.value])

    group = caught(ExceptionGroup, ours(CALLS), user_gathers)
    assert frames(group) == ["caught", "user_gathers"]
    assert frames(group.exceptions[0]) == ["user_gathers", "refused", "user_raises"]


def pretended(name, filename, source, **names):
    """Makes the function `call` out of its source, as if it stood in a file of a package."""
    space = {"__name__": name, **names}
    exec(compile(source, filename, "exec"), space)
    return space["call"]


@pytest.mark.parametrize(
    ("name", "folder", "kept"),
    [
        ("mine.steps", "purelib", True),
        ("torchmetrics.metric", "purelib", False),
        ("code", "stdlib", False),
        ("code", "scripts", True),
    ],
)
def test_a_users_package_may_be_installed_beside_the_libraries(name, folder, kept):
    refuse = ours("def call():\n    raise ModuleError('no')", ModuleError=ModuleError)
    asks = pretended(name, f"{sysconfig.get_path(folder)}/asks.py", "def call():\n    refuse()", refuse=refuse)
    assert frames(caught(ModuleError, ours(CALLS), asks)) == ["caught", "call"][: 1 + kept]


def test_an_error_that_refuses_to_be_assigned_to_keeps_its_type():
    class FrozenError(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    def fails():
        raise FrozenError

    assert frames(caught(FrozenError, ours(CALLS), fails)) == ["caught", "fails"]


def test_errors_that_are_each_others_context_end():
    first, second = OSError(1), OSError(2)
    first.__cause__, second.__cause__ = second, first

    def fails():
        raise first

    assert frames(caught(OSError, ours(CALLS), fails)) == ["caught", "fails"]


@pytest.mark.parametrize(("value", "whole"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_whole_traceback_comes_on_request(monkeypatch, value, whole):
    monkeypatch.setenv(FULL, value)
    names = frames(caught(OSError, ours(CALLS), user_raises))
    assert ("inside" in names) is whole
    assert names[-1] == "user_raises"


def test_what_is_no_error_stays_as_it_is():
    assert "inside" in frames(caught(SystemExit, ours(CALLS), sys.exit))


INTERRUPTED = """
def handle(function=None):
    raise KeyboardInterrupt

def call(function):
    with folded():
        CALL
"""


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("function(handle)", ["caught", "step"]),  # a handler of signals is ours, and interrupts the user's code
        ("handle()", ["caught"]),  # or our own
        ("function(lambda: None)", ["caught", "step"]),  # or it is Python's own
    ],
)
def test_an_interrupt_shows_the_users_frames_only(source, kept):
    def step(handle):
        handle()
        raise KeyboardInterrupt

    call = ours(INTERRUPTED.replace("CALL", source))
    assert frames(caught(KeyboardInterrupt, call, step)) == kept


def test_an_interrupt_shows_all_frames_on_request(monkeypatch):
    monkeypatch.setenv(FULL, "1")
    call = ours(INTERRUPTED.replace("CALL", "function(handle)"))
    assert frames(caught(KeyboardInterrupt, call, lambda handle: handle())) == ["caught", "call", "<lambda>", "handle"]


def test_a_generator_is_folded_by_a_block_inside_it():
    source = "def call(function):\n    with folded():\n        yield function()"
    assert frames(caught(OSError, lambda: next(ours(source)(user_raises))))[-1] == "user_raises"


def test_errors_without_frames_of_the_framework_stay_as_they_are():
    with pytest.raises(OSError, match="user's") as info, folded():
        user_raises()
    assert frames(info.value) == ["test_errors_without_frames_of_the_framework_stay_as_they_are", "user_raises"]


WARNS = """
def inside():
    warn_user("Look here.")

def call(function=lambda ask: ask()):
    function(inside)
"""


def test_a_warning_is_one_of_the_innermost_line_of_the_users():
    def asks(warn):
        warn()

    call = ours(WARNS, warn_user=warn_user)
    for arguments, line in [((), "call(*arguments)"), ((asks,), "warn()")]:
        with pytest.warns(UserWarning, match="Look here.") as caught:
            call(*arguments)
        assert caught[0].filename == __file__
        assert linecache.getline(__file__, caught[0].lineno).strip() == line


PROGRAM = """
from framework import TrainModule

class Net(TrainModule):
    def on_epoch_end(self): ...
"""


def test_a_class_that_is_refused_shows_the_line_of_the_class():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("File ") == 1
    assert done.stderr.splitlines()[-1].startswith("framework.errors.ModuleError: Net.on_epoch_end is no hook.")


class Wrong(TrainModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return self.weight.sum() * batch.missing

    evaluation_step = prediction_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


VERBS = {
    "fit": lambda module, batch: module.fit([batch], max_epochs=1, progress=False),
    "validation": lambda module, batch: module.fit([batch], [batch], max_epochs=1, progress=False),
    "evaluate": lambda module, batch: module.evaluate([batch]),
    "predict": lambda module, batch: module.predict([batch]),
    "predict_batches": lambda module, batch: list(module.predict_batches([batch])),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_each_verb_shows_the_users_step_last(verb):
    error = caught(AttributeError, verb, Wrong(), torch.ones(2, 3))
    assert frames(error) == ["caught", "<lambda>", "training_step"]
    lines = linecache.getlines(__file__)
    assert "batch.missing" in lines[traceback.extract_tb(error.__traceback__)[-1].lineno - 1]
    note = "\n".join(error.__notes__)
    assert "the batch float32 (2, 3)" in note
    assert note.endswith(f"Frames of the framework are left out of the traceback; {FULL}=1 in the environment shows them.")


def test_it_is_told_whether_a_traceback_has_a_frame_of_the_user():
    from framework.tracebacks import shows_users_code

    with pytest.raises(ValueError, match="bad") as caught:
        raise ValueError("bad")
    assert shows_users_code(caught.value)
    assert not shows_users_code(ValueError("never raised"))
