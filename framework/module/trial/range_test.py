"""What a learning-rate range test has found: losses by rate, a suggestion, a plot."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from math import log10
from os import PathLike

from framework.errors import SettingError

_KEPT = 0.9  # of the smoothed loss at each step
_DIVERGED = 3.0  # times the size of the best loss, or of the fall to it, above the best
_WINDOW = 1.0  # decades of the rate over which the fall is measured
_FEWEST = 5  # steps that say something


@dataclass(slots=True)
class RangeTest:
    """Losses by learning rate, as `find_lr` has measured them; it returns one of these.

    Attributes:
        rates: of each step, rising from each to the next by the same factor.
        losses: that of the batch, or of the window of accumulated batches, of each step, before it.
        smoothed: their moving average.
        reason: one sentence that says why the test ended.

    Example:
        >>> from framework import RangeTest
        >>> test = RangeTest()
        >>> for step, loss in enumerate([4.0, 4.0, 4.0, 3.9, 3.5, 3.0, 2.5, 2.1, 2.0]):
        ...     test.add(10.0 ** (step / 4 - 4), loss)
        >>> f"{test.suggestion:.1g}", test.has_diverged
        ('0.002', False)
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    reason: str = ""

    def add(self, rate: float, loss: float) -> None:
        """Adds a step: the rate it takes, and the loss before it, a finite number."""
        self.rates.append(rate)
        self.losses.append(loss)
        count = len(self.losses)
        held = self.smoothed[-1] * (1 - _KEPT ** (count - 1)) if self.smoothed else 0.0  # before it was corrected for its start
        self.smoothed.append((_KEPT * held + (1 - _KEPT) * loss) / (1 - _KEPT**count))

    @property
    def has_diverged(self) -> bool:
        """Whether the smoothed loss has risen far above its best value."""
        if len(self.smoothed) < _FEWEST:
            return False
        best = min(self.smoothed)
        return self.smoothed[-1] > best + _DIVERGED * max(abs(best), self.smoothed[0] - best)

    @property
    def suggestion(self) -> float | None:
        """A rate to begin with: in the middle of where the loss falls fastest; None where it does not fall, or too little is known.

        Of all stretches in which the rate grows tenfold, and that end before the lowest smoothed loss, the one with the steepest
        line through its losses, over the logarithm of the rate.
        """
        end = self.smoothed.index(min(self.smoothed)) + 1 if self.smoothed else 0
        if end < _FEWEST:
            return None
        decades = log10(self.rates[1] / self.rates[0])  # a step
        width = min(max(round(_WINDOW / decades) + 1, _FEWEST), end)
        slopes = [_slope(self.losses[start : start + width]) for start in range(end - width + 1)]
        steepest = slopes.index(min(slopes))
        if slopes[steepest] >= 0:
            return None
        return self.rates[steepest] * 10 ** (decades * (width - 1) / 2)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draws the losses over the rates into a file; its ending says of which kind: .png, .svg, .pdf.

        Args:
            path: the file.

        Raises:
            SettingError: matplotlib is not installed, or there is nothing to draw.
        """
        if not self.rates:
            raise SettingError("plot has nothing to draw: the range test has no step. Let find_lr return first.")
        try:
            drawing = import_module("matplotlib.figure")  # optional, slow to import, and without types where it is not installed
        except ImportError as error:
            raise SettingError(
                "plot draws with matplotlib, which cannot be imported. Install it: pip install 'trainmodule[plots]'; or draw rates "
                "and losses with something else."
            ) from error
        figure = drawing.Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="0.7", linewidth=1, label="loss")
        axes.plot(self.rates, self.smoothed, color="C0", label="smoothed")
        if (suggestion := self.suggestion) is not None:
            axes.axvline(suggestion, color="C1", linestyle="--", label=f"suggestion {suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title="Learning-rate range test")
        best = min(self.smoothed)
        highest = max(self.smoothed[: self.smoothed.index(best) + 1])
        if highest > best:  # else the end, where the loss explodes, would flatten all that is of interest
            axes.set_ylim(min(self.losses) - 0.1 * (highest - best), highest + 0.6 * (highest - best))
        axes.legend()
        figure.savefig(path)


def _slope(losses: list[float]) -> float:
    """Returns the slope of the line of least squares through equally spaced values."""
    middle = (len(losses) - 1) / 2
    offsets = [index - middle for index in range(len(losses))]
    return sum(offset * loss for offset, loss in zip(offsets, losses, strict=True)) / sum(offset**2 for offset in offsets)
