"""What a backend does in a step, as the lines that one would write by hand."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from framework.backends.amp import AMP
from framework.backends.apex import Apex, LegacyApex
from framework.backends.autocast import DTYPES
from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.xla import XLA
from framework.module.drawing.page import Page


class Verbs:
    """Writes the verbs of a backend; a scaler's as they are called by hand, a verb of an unknown backend by its name.

    Args:
        page: where to.
        backend: of the run.
        several: the optimizers have names, and are in `optimizers`.

    Attributes:
        may_skip: a step may be left out, by a gradient scaler.
    """

    def __init__(self, page: Page, backend: Backend, *, several: bool) -> None:
        self._page = page
        self._backend = backend
        self._core: Backend = backend._inner if isinstance(backend, Apex) else backend
        self._scaled = isinstance(self._core, AMP) and self._core.scaler.is_enabled()
        self._plain = isinstance(self._core, AMP) and not self._scaled
        self._all = "list(optimizers.values())" if several else "[optimizer]"
        self.may_skip = backend.step_optimizer is not None and not self._plain

    def autocast(self) -> AbstractContextManager[None]:
        """Opens the block in which the forward pass runs."""
        core = self._core
        kind = "xla" if isinstance(core, XLA) else core.device.type
        if not self.casts:
            return nullcontext()
        return self._page.block(f'with torch.autocast("{kind}", {DTYPES[core.precision]}):')

    @property
    def casts(self) -> bool:
        """Whether the forward pass runs under torch.autocast."""
        return isinstance(self._core, AMP | XLA) and self._core.precision in DTYPES

    def call(self, function: str) -> str:
        """Returns the function, as it is called in the precision of the backend."""
        own = type(self._core).autocast is not Backend.autocast and not isinstance(self._core, AMP | XLA | LegacyApex)
        return f"backend.autocast({function})" if own else function

    def micro(self, last: str) -> AbstractContextManager[None]:
        """Opens the block around forward and backward of one micro-batch."""
        return nullcontext() if self._backend.micro is None else self._page.block(f"with backend.micro({last}):")

    def backward(self, loss: str, parameters: str = "") -> None:
        """Writes the backward pass."""
        inputs, of = (f"inputs={parameters}", "[optimizer]") if parameters else ("", self._all)
        if self._scaled:
            self._page.line(f"scaler.scale({loss.removeprefix('(').removesuffix(')')}).backward({inputs})")
        elif isinstance(self._core, LegacyApex):
            with self._page.block(f"with apex.amp.scale_loss({loss}, {of}) as scaled:"):
                self._page.line(f"scaled.backward({inputs})")
        elif self._backend.backward is None or self._plain:
            self._page.line(f"{loss}.backward({inputs})")
        else:
            self._page.line(f"backend.backward({loss}, {of}, {parameters or None})")

    def reduce(self, optimizers: str) -> None:
        """Writes the mean over processes."""
        if self._backend.reduce is not None:
            self._page.line(f"backend.reduce({optimizers})", "gradients are averaged over processes")

    @property
    def unscales(self) -> bool:
        """Whether gradients have to be brought to their true size."""
        return self._backend.unscale is not None and not self._plain

    def unscale(self) -> None:
        """Brings the gradients of `optimizer` to their true size."""
        if self.unscales:
            self._page.line("scaler.unscale_(optimizer)" if self._scaled else "backend.unscale(optimizer)")

    def clip(self, clip: Clip | None, parameters: str, count: int) -> None:
        """Writes the limits of the gradients, of `count` optimizers together."""
        if clip is None:
            return
        if count > 1 and self._backend.join_skips is not None and not self._plain:
            self._page.line(f"backend.join_skips({self._all})", "all of them step, or none")
        if clip.norm is not None:
            self._page.line(f"clip_grad_norm_({parameters}, {clip.norm!r})")
        if clip.value is not None:
            self._page.line(f"clip_grad_value_({parameters}, {clip.value!r})")

    def step(self) -> None:
        """Writes the step of `optimizer`."""
        if self._scaled:
            self._page.line("scaler.step(optimizer)", "not where a gradient is infinite or NaN")
        elif self._backend.step_optimizer is None or self._plain or isinstance(self._core, LegacyApex):
            self._page.line("optimizer.step()")
        else:
            self._page.line("backend.step_optimizer(optimizer)")

    def if_stepped(self) -> AbstractContextManager[None]:
        """Opens the block of what follows a step that was really made."""
        return self._page.block("if stepped(optimizer):") if self.may_skip else nullcontext()

    def end_window(self) -> None:
        """Writes what is due once after all steps of a window."""
        if self._scaled:
            self._page.line("scaler.update()")
        elif self._backend.end_window is not None and not self._plain:
            self._page.line("backend.end_window()")

    def mark_step(self) -> None:
        """Writes the end of what is recorded, on devices that record."""
        if self._backend.mark_step is not None:
            self._page.line("torch_xla.sync()" if isinstance(self._core, XLA) else "backend.mark_step()")

    def setup(self) -> None:
        """Writes what is made before the loop."""
        if self._scaled:
            self._page.line(f'scaler = torch.amp.GradScaler("{self._core.device.type}")')
        elif isinstance(self._core, LegacyApex):
            level = self._core._opt_level
            self._page.line(f'apex.amp.initialize(model, {self._all}, opt_level="{level}")')

    def feed(self, data: str) -> str:
        """Returns the data, such that its batches arrive on the device."""
        moves = self._backend.device != torch.device("cpu") or type(self._backend).feed is not Backend.feed
        return f"backend.feed({data})" if moves else data
