"""The whole model on every process, the gradients averaged by torch's DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, fields
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from framework.backends.autocast import F
from framework.backends.base import Backend
from framework.distributed.parallel import Parallel
from framework.distributed.replicas import average_gradients, send_from_main
from framework.distributed.strategy import Strategy
from framework.errors import ModuleError, SettingError, StepError

if TYPE_CHECKING:
    from framework.distributed.group import Group

_ALONE: AbstractContextManager[Any] = nullcontext()


@dataclass(frozen=True, kw_only=True)
class DDP(Strategy):
    """Each process has the whole model and trains on its share of the batches; gradients are averaged while they are computed.

    Losses that a step yields have gradients of their own, which are averaged where their optimizer steps.

    Args:
        find_unused_parameters: parameters may take no part in a loss; costs a walk through its graph in each step.
        static_graph: the same parameters take part in every loss, in the same way. The first step of a process then adds in another
            order than the later ones, so that with more than two processes a resumed run is the same only to rounding.
        bucket_mib: MiB of gradients that are sent together; None for what torch takes, 25.
        broadcast_buffers: each batch ends with the buffers of rank 0, such as the running means of batch normalisation, on all
            processes. Without it each has its own, of which checkpoints hold those of rank 0.
        gradient_as_bucket_view: keep gradients where they are sent from, which saves their size in memory.

    Raises:
        SettingError: a setting of a wrong type or range, or two that do not go together.

    Example:
        >>> from framework import DDP
        >>> DDP(bucket_mib=50).bucket_mib
        50
    """

    name: ClassVar[str] = "ddp"

    find_unused_parameters: bool = False
    static_graph: bool = False
    bucket_mib: float | None = None
    broadcast_buffers: bool = True
    gradient_as_bucket_view: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "bucket_mib" and not isinstance(value, bool):
                raise SettingError(f"DDP({field.name}={value!r}): it is True or False, got {type(value).__name__}.")
        size = self.bucket_mib
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < float("inf")):
            raise SettingError(f"DDP(bucket_mib={size!r}): it is a number of MiB above 0, or None for what torch takes.")
        if self.find_unused_parameters and self.static_graph:
            raise SettingError(
                "DDP(find_unused_parameters=True, static_graph=True): a static graph finds unused parameters by itself. Leave "
                "find_unused_parameters out."
            )

    def over(self, backend: Backend, group: Group, blocks: Callable[[nn.Module], Sequence[nn.Module]]) -> Parallel:
        if backend.stepped_parameters is not None:
            raise SettingError(
                f"{backend.name} in {backend.precision} decides on each process alone whether to skip a step, so several would "
                "drift apart. Use accelerator='amp', or one process."
            )
        return Replicated(self, backend, group)

    def wrapped(self, runner: nn.Module) -> DistributedDataParallel:
        """Returns a module such that the gradients of what its `forward` returns are averaged over the processes."""
        options: dict[str, Any] = {"bucket_cap_mb": self.bucket_mib} if self.bucket_mib is not None else {}
        names = signature(DistributedDataParallel).parameters  # 2.13 has a new name, and warns of the old one
        options["forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"] = False  # `micro` sends them
        return DistributedDataParallel(
            runner,
            find_unused_parameters=self.find_unused_parameters,
            static_graph=self.static_graph,
            gradient_as_bucket_view=self.gradient_as_bucket_view,
            init_sync=False,  # `place` has compared and sent
            **options,
        )

    @property
    def rebuilds_buckets(self) -> bool:
        """Whether torch puts its buckets into another order after the first backward pass."""
        return not self.find_unused_parameters and not self.static_graph


class Replicated(Parallel):
    """A backend under `DDP`.

    DistributedDataParallel is made where a step begins, and again when other parameters than before require gradients, or when a
    forward pass had no backward pass, for which it still waits. What it does not average `reduce` does: yielded losses, the
    gradients of a window of accumulation that the end of the data has cut short, parameters that the module did not have before.

    A backend that averages gradients by itself, such as `XLA` does, goes on to do so, without DistributedDataParallel.

    Args:
        settings: of DistributedDataParallel.
        inner, group: see `Parallel`.
    """

    def __init__(self, settings: DDP, inner: Backend, group: Group) -> None:
        super().__init__(inner, group)
        self._settings = settings
        self._names: dict[Optimizer, str] = {}
        self._runner: _Runner | None = None  # runs the step; None where losses are yielded
        self._ddp: DistributedDataParallel | None = None
        self._parameters: list[nn.Parameter] = []  # of the module, when `_ddp` was made
        self._trainable: list[bool] = []  # of those, which required gradients
        self._inside: set[int] = set()  # the ids of those whose gradients `_ddp` averages
        self._last = True  # the micro-batch at hand ends its window
        self._first = False  # `_ddp` has yet to see its static graph, which it does where it averages alone
        self._awaited = False  # `_ddp` waits for a backward pass
        self._averaged = False  # the gradients of the window are averaged
        self._shares_buffers = False

    def place(self, model: nn.Module) -> Mapping[nn.Parameter, nn.Parameter]:
        self._model = model
        self._shares_buffers = self._settings.broadcast_buffers and next(model.buffers(), None) is not None
        return super().place(model)

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        super().adopt(model, optimizers, replaced)
        self._names = {optimizer: name for name, optimizer in optimizers.items()}

    def parallel_step(self, module: nn.Module, step: F) -> F:
        if self.inner.reduce is not None:
            return step
        self._runner = _Runner(module, step)
        return self._run  # type: ignore[return-value]

    # In a step

    def micro(self, last: bool) -> AbstractContextManager[Any]:
        if self._runner is not None:
            self._follow()
        self._last, self._averaged = last, False
        contexts: list[AbstractContextManager[Any]] = [self._sending_buffers()] if self._shares_buffers else []
        if not last and not self._first and self._ddp is not None:
            contexts.append(self._ddp.no_sync())
        if self.inner.micro is not None:
            contexts.append(self.inner.micro(last))
        if len(contexts) < 2:
            return contexts[0] if contexts else _ALONE
        stack = ExitStack()
        for each in contexts:
            stack.enter_context(each)
        return stack

    @contextmanager
    def _sending_buffers(self) -> Iterator[None]:
        """Makes the buffers those of rank 0 afterwards: averages, checkpoints and evaluations take them from any process."""
        yield
        send_from_main(self._model.buffers(), self.group)

    def _run(self, *arguments: Any) -> Any:
        assert self._ddp is not None, "micro has made it"
        self._awaited = self._last or self._first
        return self._ddp(*arguments)

    def backward(self, loss: Tensor, optimizers: Sequence[Optimizer], parameters: Sequence[nn.Parameter] | None) -> None:
        if self.inner.backward is not None:
            self.inner.backward(loss, optimizers, parameters)
        else:
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        if self._awaited:
            self._awaited, self._first, self._averaged = False, False, self._last
            self._refuse_unused()

    def reduce(self, optimizers: Sequence[Optimizer]) -> None:
        if self.inner.reduce is not None:
            self.inner.reduce(optimizers)
            return
        done = self._inside if self._averaged else ()
        self._averaged = False
        groups = [group["params"] for optimizer in optimizers for group in optimizer.param_groups]
        held = dict.fromkeys(each for group in groups for each in group if id(each) not in done)
        left = [each for each in held if each.requires_grad or each.grad is not None]
        if left:
            average_gradients(left, self.group, " and ".join(repr(self._names[each]) for each in optimizers))

    # DistributedDataParallel

    def _follow(self) -> None:
        """Makes DistributedDataParallel, where there is none that goes by what the module is now."""
        if self._ddp is None or self._awaited or [each.requires_grad for each in self._parameters] != self._trainable:
            self._awaited, self._ddp = False, None  # the old one first: it hangs on the parameters
            self._wrap()

    def _wrap(self) -> None:
        assert self._runner is not None
        module = self._runner.module
        self._parameters = list(module.parameters())
        self._trainable = [each.requires_grad for each in self._parameters]
        self._inside = {id(each) for each in self._parameters if each.requires_grad}
        if not self._inside:
            raise ModuleError(
                f"All parameters of {type(module).__name__} are frozen (requires_grad is False), so there is nothing to train. "
                "Unfreeze some, with requires_grad_(True)."
            )
        self._ddp, self._first = self._settings.wrapped(self._runner), self._settings.static_graph
        watched = any(each._backward_hooks or each._post_accumulate_grad_hooks for each in self._parameters)
        if self._settings.rebuilds_buckets and not watched:  # a hook of the user's may step or draw
            self._settle_buckets(self._ddp, self._runner)

    def _settle_buckets(self, ddp: DistributedDataParallel, runner: _Runner) -> None:
        """Lets a backward pass of zeros be the one after which torch puts its buckets into the order in which gradients came.

        Else the first step of a process would add in another order than the later ones, and a resumed run would have other bits.
        """
        owners = {each: part for part in reversed(list(runner.modules())) for each in part.parameters(recurse=False)}
        trainable = [each for each in self._parameters if each.requires_grad]  # torch has them in this order too
        kept, step = [each.grad for each in trainable], runner.step
        runner.step = lambda: sum(_zero_of(each, owners[each]) for each in trainable)
        try:
            ddp().backward()
        finally:
            runner.step = step
            for each, gradient in zip(trainable, kept, strict=True):
                each.grad = gradient

    def _refuse_unused(self) -> None:
        """Refuses a loss that some of the parameters take no part in: torch has not averaged all gradients then."""
        assert self._ddp is not None
        try:
            # torch has no public way, and asks itself only when the next step begins
            self._ddp._check_reducer_finalized()  # type: ignore[no-untyped-call]
        except RuntimeError:
            named = self._ddp.module.module.named_parameters()
            unused = [name for name, each in named if id(each) in self._inside and each.grad is None]
            some = ", ".join(unused[:5]) + ", ..." * (len(unused) > 5) if unused else "some of them"
            raise StepError(
                f"Parameters that require gradients took no part in the loss on rank {self.group.rank}: {some}. The processes wait "
                "for each other's gradients. Freeze what is not trained, with requires_grad_(False), or use "
                "strategy=DDP(find_unused_parameters=True)."
            ) from None


class _Runner(nn.Module):
    """Runs the step of a module inside a `forward`, as DistributedDataParallel wants it."""

    def __init__(self, module: nn.Module, step: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.step = step

    def __call__(self, *arguments: Any) -> Any:  # without what a module does for hooks: it has none
        return self.step(*arguments)


def _zero_of(parameter: nn.Parameter, owner: nn.Module) -> Tensor:
    """Returns zero, with gradients of zero, of the kind that the module gives its parameter."""
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag) and owner.sparse:
        row = torch.zeros(1, dtype=torch.long, device=parameter.device)
        return nn.functional.embedding(row, parameter, sparse=True).sum() * 0
    return (torch.view_as_real(parameter) if parameter.is_complex() else parameter).sum() * 0
