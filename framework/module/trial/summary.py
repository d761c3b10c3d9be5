"""The text that a dry run prints: a table of the layers, then sizes, times and memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.base import Backend
from framework.backends.description import cut
from framework.backends.tree import tensors_in
from framework.module.trial.measurement import Call, Measurement, seen_parts

WIDTH = 100
_MOST_ROWS = 60
_LONGEST_NAME = 40
_GAP = "  "
_LEAST_KIND = 16  # characters of a class that are always there
_FOR_SHAPES = 52  # characters for shapes and notes, and the gaps, before names and classes get more


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a module and its optimizers hold, in numbers and bytes; memory that is shared counts once."""

    parameters: int
    trainable: int
    buffers: int
    weights_bytes: int
    buffers_bytes: int
    gradients_bytes: int
    optimizer_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of the table."""

    name: str
    kind: str
    shapes: str
    parameters: str
    note: str


def measure_sizes(module: nn.Module, optimizers: Iterable[Optimizer]) -> Sizes:
    """Returns the sizes as they are now: right after a step the gradients and the optimizers' state are there."""
    weights = [parameter for parameter in module.parameters() if not nn.parameter.is_lazy(parameter)]
    buffers = [buffer for buffer in module.buffers() if not nn.parameter.is_lazy(buffer)]
    states = {id(tensor): tensor for each in optimizers for tensor in tensors_in(list(each.state.values()))}
    return Sizes(
        parameters=_count(weights),
        trainable=_count(parameter for parameter in weights if parameter.requires_grad),
        buffers=_count(buffers),
        weights_bytes=_bytes(weights),
        buffers_bytes=_bytes(buffers),
        gradients_bytes=_bytes(parameter.grad for parameter in weights if parameter.grad is not None),
        optimizer_bytes=_bytes(states.values()),
    )


def layer_rows(module: nn.Module, calls: Mapping[nn.Module, Call], *, sees_layers: bool) -> list[Row]:
    """Returns a row for each layer, the module itself first; of a large module only the outer layers.

    Args:
        module: right after a step, with its gradients.
        calls: of the layers in that step.
        sees_layers: calls could be seen at all.
    """
    names: dict[nn.Module, str] = {}
    rows, depths, repeated = [], [], "."
    seen = seen_parts(module) if sees_layers else set()
    for path, part in module.named_modules(remove_duplicate=False):
        if path.startswith(repeated):
            continue
        depth = path.count(".") + 1 if path else 0
        name = f"{'  ' * depth}{path.rpartition('.')[2]}" if path else type(module).__name__
        if part in names:
            repeated = f"{path}."  # nothing new is inside
            rows.append(Row(name, type(part).__name__, f"the same as {names[part]}", "", ""))
        else:
            names[part] = path or "the module"
            call = calls.get(part)
            shapes = "" if call is None else f"{_short(call.given)} -> {_short(call.returned)}"
            note = _note(part, call, seen=part in seen)
            rows.append(Row(name, type(part).__name__ if path else "", shapes, _own_count(part), note))
        depths.append(depth)
    return list(_outer(rows, depths))


def summary(
    module: nn.Module, backend: Backend, rows: list[Row], sizes: Sizes, found: Measurement, *, sees_layers: bool, stored: int | None
) -> str:
    """Returns the whole text, at most `WIDTH` characters wide.

    Args:
        module, backend: of the run.
        rows: of `layer_rows`.
        sizes: right after the step.
        found: in the step.
        sees_layers: the layers could be watched.
        stored: bytes of the tensors of a checkpoint; None where there is none.
    """
    lines = [
        f"Dry run of {cut_middle(type(module).__name__, _LONGEST_NAME)} on {_place(backend)}: one batch of everything.",
        "The module is as it was before, and no file was written.",
        "",
        _line("batch", f"{found.batch}{f', {found.batches} of them for a step' if found.batches > 1 else ''}"),
        *(_line(f"{stage} batch", text) for stage, (text, _, _) in found.evaluations.items()),
        "",
        *_table(rows),
        "",
    ]
    if not sees_layers:
        lines += ["The step is compiled: it does not show which layers it calls, nor their shapes.", ""]
    frozen = sizes.parameters - sizes.trainable
    parts = [f"{sizes.parameters:,} parameters, {sizes.trainable:,} trainable" + (f", {frozen:,} frozen" if frozen else "")]
    parts += [f"{sizes.buffers:,} numbers in buffers"] if sizes.buffers else []
    lines.append(_line("sizes", ", ".join(parts)))
    lines += _memory(backend, sizes, found)
    if stored is not None:
        lines.append(_line("checkpoint", f"{_size(stored)} of tensors; everything in it can be stored"))
    return "\n".join([*lines, *_times(found)])


def cut_middle(text: str, longest: int) -> str:
    """Returns the text with what is too long left out in its middle."""
    if len(text) <= longest:
        return text
    left = max(longest - 3, 0)
    return f"{text[: left - left // 2]}...{text[len(text) - left // 2 :]}"[:longest]


def _memory(backend: Backend, sizes: Sizes, found: Measurement) -> Iterator[str]:
    held = {
        "weights": sizes.weights_bytes,
        "buffers": sizes.buffers_bytes,
        "gradients": sizes.gradients_bytes,
        "optimizer state": sizes.optimizer_bytes,
    }
    yield _line("memory", ", ".join(f"{what} {_size(size)}" for what, size in held.items() if size))
    kept = "not shown by this version of torch" if found.kept is None else _size(found.kept)
    yield _line("", f"kept for the backward pass: {kept}, besides weights and batch")
    device = "the CPU" if backend.device.type == "cpu" else f"a device of type {backend.device.type}"
    yield _line("", f"peak of the step: {f'not measured on {device}' if found.peak is None else _size(found.peak)}")


def _times(found: Measurement) -> Iterator[str]:
    backward = f", of it {_ms(found.backward_s)} in the backward pass" if found.backward_s else ""
    yield _line("time", f"data {_ms(found.data_s)}, step {_ms(found.step_s)}{backward}")
    for stage, (_, samples, seconds) in found.evaluations.items():
        yield _line("", f"evaluation of {stage} {_ms(seconds)} for {samples:,} samples")
    speed = f"~{found.samples / found.step_s:,.0f} samples/s" if found.step_s else "too short to tell the speed"
    yield _line("", f"{speed} in this first, cold step of {found.samples:,} samples")


def _table(rows: list[Row]) -> Iterator[str]:
    rows = [Row("layer", "class", "input -> output", "parameters", ""), *rows]
    name, kind, count = (max(len(getattr(row, column)) for row in rows) for column in ("name", "kind", "parameters"))
    kind = max(min(kind, WIDTH - _FOR_SHAPES - count - name), min(kind, _LEAST_KIND))
    name = min(name, WIDTH - _FOR_SHAPES - count - kind)
    rest = WIDTH - name - kind - count - 3 * len(_GAP)
    for row in rows:
        cells = (cut_middle(row.name, name).ljust(name), cut_middle(row.kind, kind).ljust(kind), row.parameters.rjust(count))
        shapes = cut_middle(row.shapes, rest - len(row.note) - len(_GAP) if row.note else rest)
        yield _GAP.join((*cells, *filter(None, (shapes, row.note)))).rstrip()


def _outer(rows: list[Row], depths: list[int]) -> Iterator[Row]:
    """Yields the rows down to the depth at which they are few enough, and says how many layers are left out."""
    deepest = max((depth for depth in set(depths) if sum(each <= depth for each in depths) <= _MOST_ROWS), default=0)
    shown = [row for row, depth in zip(rows, depths, strict=True) if depth <= max(deepest, 1)]
    yield from shown[:_MOST_ROWS]
    if (left := len(rows) - len(shown[:_MOST_ROWS])) > 0:
        yield Row(f"... {left:,} more inside", "", "", "", "")


def _note(part: nn.Module, call: Call | None, *, seen: bool) -> str:
    own = [parameter for parameter in part.parameters(recurse=False) if not nn.parameter.is_lazy(parameter)]
    every = [parameter for parameter in part.parameters() if not nn.parameter.is_lazy(parameter)]
    frozen = [parameter for parameter in every if not parameter.requires_grad]
    notes = []
    trains = [parameter for parameter in own if parameter.requires_grad]
    touched = any(parameter.grad is not None for parameter in trains)
    if call is not None and call.count > 1:
        notes.append(f"{call.count} calls")
    if call is None and seen and _is_layer(part):
        notes.append("weights used, not called" if touched else "not used" if trains or not own else "not called")
    elif trains and not touched:
        notes.append("no gradient")
    if frozen and own and len(frozen) == len(every):
        notes.append("frozen")
    elif own and frozen:
        notes.append(f"{_count(own) - _count(trains):,} frozen")
    return ", ".join(notes)


def _is_layer(part: nn.Module) -> bool:
    """Tells whether it is there to be called: it has weights of its own, or it is the innermost and no metric."""
    innermost = next(part.children(), None) is None and not hasattr(part, "_update_count")
    return next(part.parameters(recurse=False), None) is not None or innermost


def _own_count(part: nn.Module) -> str:
    every = list(part.parameters())
    if any(nn.parameter.is_lazy(parameter) for parameter in every):
        return "not yet known"
    return f"{_count(every):,}" if every else ""


def _place(backend: Backend) -> str:
    device = str(backend.device)
    name = device if backend.name == backend.device.type else f"{backend.name} ({device})"
    return f"{name} in {backend.precision}"


def _line(name: str, text: str) -> str:
    return cut(f"{name:<12}{text}" if len(name) < 12 else f"{name}  {text}", WIDTH)


def _short(text: str) -> str:
    return text.replace("float32 (", "(")


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _size(size: int) -> str:
    if size >= 2**20:
        return f"{size / 2**20:,.1f} MiB"
    return f"{size / 2**10:.1f} KiB" if size >= 2**10 else f"{size} bytes"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"
