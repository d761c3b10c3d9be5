"""How often each optimizer really stepped."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from framework.backends.report import STEPPED, StepReport


class StepCounter:
    """Counts the steps that optimizers really made, without making a device wait.

    Only a fused optimizer under a gradient scaler keeps to itself whether it stepped. Its flag is read at once where somebody waits
    for the step (`on_stepped`), and otherwise by `settle`.

    Args:
        names: of the optimizers.
        on_stepped: called with the name of each optimizer that really stepped.

    Attributes:
        steps: by name, the steps made, as far as they are known.
        skipped: by name, the steps that a gradient scaler has skipped, as far as they are known.
        grad_norms: by name, the norm of the gradients of the last step before they were clipped, a tensor on the device.
    """

    def __init__(self, names: Iterable[str], on_stepped: Callable[[str], None] | None = None) -> None:
        self.steps = dict.fromkeys(names, 0)
        self.skipped = dict.fromkeys(self.steps, 0)
        self.grad_norms: dict[str, Tensor] = {}
        self._on_stepped = on_stepped
        self._unread: list[tuple[str, StepReport]] = []

    def note(self, name: str, report: StepReport) -> None:
        """Takes the report of one step."""
        if report is STEPPED and self._on_stepped is None:
            self.steps[name] += 1  # the usual case
            return
        if report.grad_norm is not None:
            self.grad_norms[name] = report.grad_norm
        if report.found_inf is not None and self._on_stepped is None:
            self._unread.append((name, report))
        elif report.stepped:
            self.steps[name] += 1
            if self._on_stepped is not None:
                self._on_stepped(name)
        else:
            self.skipped[name] += 1

    def settle(self) -> None:
        """Reads the flags that were left unread."""
        for name, report in self._unread:
            (self.steps if report.stepped else self.skipped)[name] += 1
        self._unread.clear()
