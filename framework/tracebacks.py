"""The lines that a user sees: of an error their own frames, without those of the framework; of a warning their own line."""

from __future__ import annotations

import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import dropwhile
from types import FrameType, TracebackType

from framework.errors import FrameworkError

FULL = "FRAMEWORK_FULL_TRACEBACK"
"""The environment variable that, set to 1, keeps every frame."""

_STANDARD = tuple({*(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")), "<frozen "})
_LIBRARIES = ("apex", "numpy", "torch", "torch_tpu", "torch_xla", "torchmetrics", "tqdm")
"""What the framework itself calls. Any other package may be the user's, who may have installed it beside these."""


class folded:  # noqa: N801  # used as a function is
    """Leaves the framework's frames out of the traceback of an error that leaves the block, and of its causes.

    What a user wrote stays, and so does all that it called. Where an error comes out of a library that the framework has called
    itself, such as torch in the backward pass, the call stays as well; where the framework has raised another error than its own,
    the two innermost frames. Of a KeyboardInterrupt no frame of the framework stays.

    To be entered in the function that a user calls. It is no decorator: that would add a frame between a warning and the user.

    Example:
        >>> import traceback
        >>> from framework import TrainModule
        >>> try:
        ...     TrainModule().fit([], max_epochs=1)
        ... except TypeError as error:
        ...     [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        ['<module>']
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception | KeyboardInterrupt) and folds():
            for each in _chain(error):
                BaseException.with_traceback(each, _without_ours(each))  # also of a class that refuses to be assigned to


def folds() -> bool:
    """Tells whether frames are left out; the environment says so anew each time.

    Example:
        >>> from framework.tracebacks import folds
        >>> folds()
        True
    """
    return os.environ.get(FULL, "") in ("", "0")


def shows_users_code(error: BaseException) -> bool:
    """Tells whether the traceback of an error has a frame that a user wrote.

    Example:
        >>> from framework.tracebacks import shows_users_code
        >>> shows_users_code(ValueError("never raised"))
        False
    """
    entry = error.__traceback__
    while entry is not None:
        if _is_users(entry.tb_frame):
            return True
        entry = entry.tb_next
    return False


def warn_user(text: str) -> None:
    """Warns at the innermost line that a user wrote, whatever part of the framework or of a library lies in between.

    Example:
        >>> import warnings
        >>> from framework.tracebacks import warn_user
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     warn_user("Look here.")
        >>> caught[0].message
        UserWarning('Look here.')
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and not _is_users(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and all those that a traceback shows with it."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
            if isinstance(each, BaseExceptionGroup):
                waiting += each.exceptions


def _without_ours(error: BaseException) -> TracebackType | None:
    entries: list[TracebackType] = []
    entry = error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    interrupted = isinstance(error, KeyboardInterrupt)
    while interrupted and entries and _is_ours(entries[-1].tb_frame):  # the handler of the signal, and what it has interrupted
        entries.pop()
    ours = [number for number, entry in enumerate(entries) if _is_ours(entry.tb_frame)]
    if not ours:
        return _linked(entries)
    after = [*dropwhile(_is_import, entries[ours[-1] + 1 :])]
    if any(_is_call(entry, "_utils", "reraise") for entry in after):  # of a worker, whose own traceback is the text of the error
        after = []
    kept = [entry for entry in entries[: ours[-1]] if _is_users(entry.tb_frame)]
    if not (interrupted or isinstance(error, FrameworkError)):
        if entries[-1] is entries[ours[-1]]:
            kept += [entries[number] for number in ours[-2:]]
        elif after and not any(_is_users(entry.tb_frame) for entry in after):
            kept.append(entries[ours[-1]])
    kept += [entry for entry in after if not _is_call(entry, "nn.modules.module", "_wrapped_call_impl", "_call_impl")]
    return _linked(kept)


def _linked(entries: list[TracebackType]) -> TracebackType | None:
    linked: TracebackType | None = None
    for entry in reversed(entries):
        linked = TracebackType(linked, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return linked


def _is_ours(frame: FrameType) -> bool:
    return _package_of(frame) == "framework"


def _is_import(entry: TracebackType) -> bool:
    return _package_of(entry.tb_frame) == "importlib"


def _is_call(entry: TracebackType, module: str, *functions: str) -> bool:
    """Tells whether a frame is of a function of torch that only hands on."""
    frame = entry.tb_frame
    return frame.f_code.co_name in functions and frame.f_globals.get("__name__") == f"torch.{module}"


def _is_users(frame: FrameType) -> bool:
    package = _package_of(frame)
    standard = package in sys.stdlib_module_names and frame.f_code.co_filename.startswith(_STANDARD)
    return not (_is_ours(frame) or standard or package in _LIBRARIES)


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
