"""A backend under FSDP: a module is in parts, and whole only where it is computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from framework.backends.autocast import F
from framework.backends.base import Backend
from framework.backends.clip import Clip
from framework.backends.ownership import move_model, parameters_of
from framework.distributed.parallel import Parallel
from framework.distributed.replicas import refuse_differences, send_from_main
from framework.errors import ModuleError, SettingError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from framework.distributed.fsdp import FSDP
    from framework.distributed.group import Group

_placed: WeakKeyDictionary[nn.Module, tuple[FSDP, Any]] = WeakKeyDictionary()
"""Modules that are in parts: by which settings, and over which group of torch."""


class Sharded(Parallel):
    """A backend under `FSDP`.

    Steps run through a method of the module that gathers what is in no block. It stays whole from there to the end of the backward
    pass, and inside a step of evaluation; at all other times every parameter is in parts, which optimizers and checkpoints see.

    Args:
        settings: with the types of the parameters and of what is reduced.
        inner, group: see `Parallel`.
        blocks: returns the blocks of a module, inner ones first.

    Attributes:
        mesh: the devices that have a part each.
    """

    def __init__(self, settings: FSDP, inner: Backend, group: Group, blocks: Callable[[nn.Module], Sequence[nn.Module]]) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        super().__init__(inner, group)
        self.mesh: DeviceMesh = init_device_mesh(self.device.type, (group.world_size,))
        self._settings = settings
        self._blocks = blocks
        self._parts: list[Any] = []  # what is gathered as one
        self._kept: list[Any] = []  # of those, what stays whole after its forward pass in a step
        self._buffers: list[Tensor] = []  # that checkpoints hold

    # Once

    def place(self, model: nn.Module) -> Mapping[nn.Parameter, nn.Parameter]:
        """Makes the model that of rank 0 on all ranks, and splits it, block by block on the way to the device.

        One that is in parts already stays as it is.

        Raises:
            RankError: another rank has other parameters.
            ModuleError: it cannot be split.
            SettingError: it was split before, with other settings or over processes that are gone.
        """
        from torch.distributed.fsdp import FSDPModule

        replaced = {} if model in _placed else self._split(model)
        settings, world = _placed[model]
        if world is not torch.distributed.group.WORLD:
            raise SettingError(
                f"This {type(model).__name__} is in parts over processes that have left each other since. Load its weights into a "
                "new module: load(run_dir), or load_weights(path)."
            )
        if settings != self._settings:
            raise SettingError(
                f"This {type(model).__name__} is in parts by {settings}, and now it is to be by {self._settings}. Use the same "
                "strategy and precision, or load its weights into a new module."
            )
        # what goes on with such a view belongs to a step, which is watched as a whole
        warnings.filterwarnings("ignore", rf"FSDP2-wrapped module \({type(model).__name__}\) returned a view", UserWarning)
        self._parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
        self._kept = [model] if settings.reshard_after_forward else self._parts
        self._buffers = [
            buffer
            for part in model.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None and name not in part._non_persistent_buffers_set
        ]
        return replaced

    def _split(self, model: nn.Module) -> dict[nn.Parameter, nn.Parameter]:
        from torch.distributed.fsdp import (
            CPUOffloadPolicy,
            MixedPrecisionPolicy,
            OffloadPolicy,
            fully_shard,
            register_fsdp_forward_method,
        )

        before = dict(model.named_parameters(remove_duplicate=False))
        moved = move_model(model, torch.device("cpu"))
        refuse_differences(model, self.group)
        blocks = self._blocks(model)
        _refuse_unsplittable(model, blocks)
        send_from_main([*model.parameters(), *model.buffers()], self.group)
        settings = self._settings
        types = {"param_dtype": _unless_full(settings.param_dtype), "reduce_dtype": _unless_full(settings.reduce_dtype)}
        outside = {**types, "param_dtype": None, "cast_forward_inputs": False}
        for part in (*blocks, model):
            kind = type(part)
            fully_shard(
                part,
                mesh=self.mesh,
                reshard_after_forward=settings.reshard_after_forward,
                mp_policy=MixedPrecisionPolicy(**(outside if part is model else types)),
                offload_policy=CPUOffloadPolicy() if settings.offload else OffloadPolicy(),
            )
            made = type(part)  # a class of torch's making above that of the part: checkpoints and messages go by its name
            made.__name__, made.__qualname__, made.__module__ = kind.__name__, kind.__qualname__, kind.__module__
        model._step_gathered = _called  # type: ignore[assignment]
        register_fsdp_forward_method(model, "_step_gathered")
        self.group.stays = True
        _placed[model] = settings, torch.distributed.group.WORLD
        after = dict(model.named_parameters(remove_duplicate=False))
        return {each: after[name] for name, old in before.items() for each in (old, moved.get(old, old))}

    def adopt(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        replaced: Mapping[nn.Parameter, nn.Parameter] | None = None,
    ) -> None:
        for name, optimizer in optimizers.items():
            closure = signature(type(optimizer).step).parameters.get("closure")
            if closure is not None and closure.default is Parameter.empty:
                raise SettingError(
                    f"The optimizer {name!r} ({type(optimizer).__name__}) needs a closure that computes the loss several times a "
                    "step, which strategy='fsdp' does not allow. Use strategy='ddp', or an optimizer that steps without a closure."
                )
        super().adopt(model, optimizers, replaced)

    def parallel_step(self, module: nn.Module, step: F) -> F:
        def run(*arguments: Any) -> Any:
            return _run(module, step, arguments)

        return run  # type: ignore[return-value]

    def inference_step(self, module: nn.Module, step: F) -> F:
        def run(*arguments: Any) -> Any:
            with self._whole_inside():
                return _run(module, step, arguments)

        return run  # type: ignore[return-value]

    # In a step

    @contextmanager
    def micro(self, last: bool) -> Iterator[None]:
        with self._whole_inside(), nullcontext() if self.inner.micro is None else self.inner.micro(last):
            yield
        if self._buffers:  # such as running means, of which each process has seen its own batches
            send_from_main(self._buffers, self.group)

    @contextmanager
    def _whole_inside(self) -> Iterator[None]:
        """Leaves whole after a forward pass what the rest of a step may use, and nothing afterwards."""
        for part in self._kept:
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in self._kept:
                part.set_reshard_after_forward(True, recurse=False)
            for part in self._parts:
                part.reshard()

    def _clip(self, optimizers: Sequence[Optimizer], clip: Clip) -> Tensor | None:
        parameters = list(parameters_of(optimizers))
        norm = None
        if clip.norm is not None:
            norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
            norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # plain where there are no gradients
            nn.utils.clip_grads_with_norm_(parameters, clip.norm, norm)
        if clip.value is not None:
            nn.utils.clip_grad_value_(parameters, clip.value)
        return norm


def _run(module: Any, step: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Runs a step inside the method that gathers, which is to see no batch: it would copy and cast what is in it."""
    return module._step_gathered(lambda: step(*arguments))


def _called(step: Callable[[], Any]) -> Any:
    return step()


def _unless_full(dtype: torch.dtype | None) -> torch.dtype | None:
    return None if dtype is torch.float32 else dtype


def _refuse_unsplittable(model: nn.Module, blocks: Sequence[nn.Module]) -> None:
    name = type(model).__name__
    for path, parameter in model.named_parameters():
        if parameter.dim() == 0:
            raise ModuleError(
                f"The parameter {path} of {name} is a single number without a dimension, which strategy='fsdp' cannot split. Make "
                "it nn.Parameter(torch.ones(1)), or use strategy='ddp'."
            )
    left = {parameter: path for path, parameter in model.named_parameters()}
    for part in (*blocks, model):
        own = {parameter: left.pop(parameter) for parameter in part.parameters() if parameter in left}
        together: dict[torch.dtype, str] = {}
        for parameter, path in own.items():
            if parameter.requires_grad:
                together.setdefault(parameter.dtype, path)
        if len(together) > 1:
            said = " and ".join(f"{path} {dtype}" for dtype, path in together.items())
            raise ModuleError(
                f"Parameters of {name} that strategy='fsdp' gathers together are of several types: {said}. Give them one type, or "
                "return those of each type as blocks of their own from configure_sharding(self)."
            )
