"""Which chart a metric belongs to: "train/loss", "val/loss" and "val/noisy/loss" are one picture."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

RATE, SPEED = "learning rate", "iterations a second"
_TITLES = {
    "lr": RATE,
    "time/samples_per_s": "samples a second",
    "time/iteration_s": "seconds an iteration",
    "time/data_s": "seconds an iteration",
    "grad_norm": "gradient norm",
    "param_norm": "parameter norm",
    "layer_grad_norm": "gradient norm of layers",
    "layer_param_norm": "parameter norm of layers",
    "memory": "memory, MiB",
}
WATCHED = (RATE, SPEED, *list(dict.fromkeys(_TITLES.values()))[1:])
"""Titles of charts that show how a run works, not what it learns, in their order."""


class Place(NamedTuple):
    """Where a metric is drawn.

    Attributes:
        title: of the chart.
        label: of the curve in it.
    """

    title: str
    label: str


def places(names: Collection[str]) -> dict[str, Place]:
    """Returns the chart and the label for each metric of some runs.

    `val/a/loss` is the loss of a data set `a` where `train/loss` exists or another data set has a loss too; else it is the part
    `loss` of a metric `a`.

    Example:
        >>> from framework.report.grouping import places
        >>> for name, place in places(["train/loss", "val/a/loss", "train/lr/main", "train/acc/top1", "val/acc/top1"]).items():
        ...     print(f"{name}: {place.label} in {place.title}")
        train/loss: train in loss
        val/a/loss: val/a in loss
        train/lr/main: train/main in learning rate
        train/acc/top1: train/top1 in acc
        val/acc/top1: val/top1 in acc
    """
    known = set(names)
    sets = _data_sets(known)
    return {name: _place(name, sets) for name in names}


def _data_sets(names: Collection[str]) -> set[tuple[str, str]]:
    """Returns (stage, data set) for what looks like several data sets of one stage."""
    parted = [(stage, first, rest) for stage, first, rest in map(_parts, names) if rest and stage != "train"]
    first_of: dict[tuple[str, str], set[str]] = {}
    for stage, first, rest in parted:
        first_of.setdefault((stage, rest), set()).add(first)
    return {
        (stage, first)
        for stage, first, rest in parted
        if f"train/{first}/{rest}" not in names and (f"train/{rest}" in names or len(first_of[stage, rest]) > 1)
    }


def _parts(name: str) -> tuple[str, str, str]:
    stage, _, rest = name.partition("/")
    first, _, rest = rest.partition("/")
    return stage, first, rest


def _place(name: str, sets: Collection[tuple[str, str]]) -> Place:
    stage, first, rest = _parts(name)
    if not first:
        return Place(name, name)
    if (stage, first) in sets:
        inner, _, more = rest.partition("/")
        return Place(inner, "/".join(filter(None, (stage, first, more))))
    title = _TITLES.get(f"{first}/{rest}", _TITLES.get(first, first)) if stage == "train" else first
    return Place(title, f"{stage}/{rest}" if rest else stage)
