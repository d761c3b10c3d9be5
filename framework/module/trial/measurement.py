"""What a dry run finds out: the layers as they are called, time and memory of the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from framework.backends.activations import kept_for_backward
from framework.backends.base import Backend
from framework.backends.description import describe_tree
from framework.backends.tree import count_samples, tensors_in
from framework.engine.engine import Engine
from framework.engine.events import Events


@dataclass(slots=True)
class Call:
    """The first call of a layer in the training step, and how many there were."""

    given: str
    returned: str
    count: int = 1


@dataclass(slots=True)
class Measurement:
    """What was measured; seconds and bytes.

    Attributes:
        batch: the first training batch in words.
        batches, samples: taken for the step.
        data_s: the wait for them.
        step_s: forward, backward and optimizer; of that, `backward_s`.
        kept: bytes kept for the backward pass; None where torch does not show it.
        peak: most bytes that were allocated on the device at once; None where it does not tell.
        evaluations: by stage, the batch in words, its samples and the seconds of its step.
        calls: by layer.
    """

    batch: str = ""
    batches: int = 0
    samples: int = 0
    data_s: float = 0.0
    step_s: float = 0.0
    backward_s: float = 0.0
    kept: int | None = None
    peak: int | None = None
    evaluations: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    calls: dict[nn.Module, Call] = field(default_factory=dict)


class Meter:
    """Measures one training step and one batch of each evaluation.

    Args:
        module: that is trained.
        backend: runs the steps.
        sees_layers: the step is not compiled as a whole, so that each layer is called as such.

    Attributes:
        found: what was measured so far.
    """

    def __init__(self, module: nn.Module, backend: Backend, *, sees_layers: bool) -> None:
        self.found = Measurement()
        self._module = module
        self._backend = backend
        self._sees_layers = sees_layers
        self._asked = 0.0  # when the batch at hand was asked for

    def attach(self, engine: Engine, evaluations: Iterable[tuple[str, Engine]]) -> None:
        """Measures the steps of these engines from now on.

        Args:
            engine: of the training.
            evaluations: the engine of each stage.
        """
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._note_request)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._note_batch)
        engine._process_function = self._measured(engine._process_function)
        for stage, evaluation in evaluations:
            evaluation._process_function = self._evaluated(evaluation._process_function, stage)

    def _note_request(self) -> None:
        self._asked = perf_counter()

    def _note_batch(self) -> None:
        self.found.data_s += perf_counter() - self._asked

    def _now(self) -> float:
        self._backend.synchronize()
        return perf_counter()

    def _measured(self, step: Callable[[Engine, Any], Any]) -> Callable[[Engine, Any], Any]:
        def measured(engine: Engine, batch: Any) -> Any:
            found, first = self.found, self.found.batches == 0
            found.batches += 1
            found.samples += count_samples(batch)
            cuda = self._backend.device if self._backend.device.type == "cuda" else None
            if first:
                found.batch = describe_tree(batch)
                if cuda is not None:
                    torch.cuda.reset_peak_memory_stats(cuda)
            with ExitStack() as stack:
                if first and self._sees_layers:
                    stack.enter_context(_watched(self._module, found.calls))
                stack.enter_context(self._watched_backward(batch))
                began = self._now()
                output = step(engine, batch)
                found.step_s += self._now() - began
            if cuda is not None:
                found.peak = torch.cuda.max_memory_allocated(cuda)
            return output

        return measured

    def _evaluated(self, step: Callable[[Engine, Any], Any], stage: str) -> Callable[[Engine, Any], Any]:
        def evaluated(engine: Engine, batch: Any) -> Any:
            began = self._now()
            output = step(engine, batch)
            self.found.evaluations[stage] = describe_tree(batch), count_samples(batch), self._now() - began
            return output

        return evaluated

    @contextmanager
    def _watched_backward(self, batch: Any) -> Iterator[None]:
        """Looks at each loss right before its backward pass; a hook of the step would make a scaler unscale before its time."""
        backend, found = self._backend, self.found
        inner, own = backend.backward, "backward" in vars(backend)
        known = [*tensors_in(batch), *self._module.parameters(), *self._module.buffers()]

        def backward(loss: Tensor, optimizers: Any, parameters: Any) -> None:
            kept = kept_for_backward(loss, known)
            found.kept = kept if kept is None else max(kept, found.kept or 0)
            began = self._now()
            if inner is None:
                loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            else:
                inner(loss, optimizers, parameters)
            found.backward_s += self._now() - began

        backend.backward = backward
        try:
            yield
        finally:
            if own:
                backend.backward = inner
            else:
                del backend.backward


@contextmanager
def _watched(module: nn.Module, calls: dict[nn.Module, Call]) -> Iterator[None]:
    """Notes the calls of each layer while the block runs."""

    def note(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling():
            return  # a step that the user has compiled
        if part in calls:
            calls[part].count += 1
        else:
            named = [f"{name}={describe_tree(each)}" for name, each in kwargs.items() if each is not None]
            calls[part] = Call(", ".join([*map(describe_tree, args), *named]), describe_tree(output))

    handles: list[RemovableHandle] = []
    try:
        for part in seen_parts(module):
            handles.append(part.register_forward_hook(note, with_kwargs=True))  # noqa: PERF401  # each is removed, also if one fails
        yield
    finally:
        for handle in handles:
            handle.remove()


def seen_parts(module: nn.Module) -> set[nn.Module]:
    """Returns the layers whose calls can be seen: not those that were compiled or scripted, nor what is inside them."""
    hidden = {inner for part in module.modules() if is_opaque(part) for inner in part.modules()}
    return set(module.modules()) - hidden


def is_opaque(part: nn.Module) -> bool:
    """Tells whether a layer was compiled or scripted, so that what is inside it is not called one by one."""
    compiled = getattr(part, "_compiled_call_impl", None) is not None or "_orig_mod" in part._modules
    return compiled or isinstance(part, torch.jit.ScriptModule)
