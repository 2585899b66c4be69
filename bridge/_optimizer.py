"""`OptaxOptimizer`: any optax transformation as a torch optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from ._arrays import as_operand, check_tensor
from ._config import JaxConfig
from ._dtypes import WIDTH, needs_x64
from ._guards import check_call
from ._packing import Packing
from ._pytree import to_jax, to_torch
from ._torch_internals import foreach_add_


class _Group:
    """One param group's transformation, compiled, with its state."""

    def __init__(self, transformation: Any, params: Sequence[torch.Tensor]) -> None:
        self.transformation = optax.with_extra_args_support(transformation)
        self.params = list(params)
        width = 0
        for position, parameter in enumerate(params):
            check_tensor(f"parameter {position}", parameter)
            width |= WIDTH[parameter.dtype]
        self.config = JaxConfig.capture(needs_x64(width), params[0].device if params else None)
        self.packing = Packing([tuple(p.shape) for p in params], [p.dtype for p in params])
        # Snapshots: optax keeps the parameters themselves in some states.
        arrays = to_jax([p.detach() for p in self.params], copy=True)
        state = self.config.call(jax.jit(self.transformation.init), arrays)
        leaves, self.state_tree = jax.tree_util.tree_flatten(state)
        self.state_packing = Packing([x.shape for x in leaves], [x.dtype for x in leaves])
        self.state = self.config.call(jax.jit(self.state_packing.pack), leaves)
        # What torch's lr is when the user gives none.
        self.initial_rate = 1.0
        self.has_rate = "learning_rate" in getattr(state, "hyperparams", {})
        if self.has_rate:
            self.initial_rate = float(state.hyperparams["learning_rate"])
        self.with_params = self._needs_params(arrays, state)
        self._step = jax.jit(self._update, donate_argnums=1)

    def _needs_params(self, arrays: Any, state: Any) -> bool:
        try:
            self.config.call(jax.eval_shape, self.transformation.update, arrays, state)
        except (ValueError, TypeError, AttributeError):
            return True
        return False

    def _update(self, gradients: Any, state: Any, params: Any, lr: Any, extra: Any) -> Any:
        """Traced: updates in the parameters' dtypes, and the new state; all packed."""
        gradients = self.packing.unpack(gradients)
        params = self.packing.unpack(params) if self.with_params else None
        state = self.tree_of(self.state_packing.unpack(state))
        if self.has_rate:
            old = state.hyperparams["learning_rate"]
            rates = {**state.hyperparams, "learning_rate": jnp.asarray(lr, old.dtype)}
            state = state._replace(hyperparams=rates)
        update: Any = self.transformation.update
        updates, state = update(gradients, state, params, **extra)
        if lr is not None and not self.has_rate:
            updates = [u * jnp.asarray(lr, u.dtype) for u in updates]
        # A copy, because an update that is the gradient itself would come out as torch's own
        # memory, and a state that is a constant as one buffer for all.
        updates = [
            jnp.array(u, g.dtype, copy=True) for u, g in zip(updates, gradients, strict=True)
        ]
        leaves = [_copied(x) for x in jax.tree_util.tree_leaves(state)]
        return self.packing.pack(updates), self.state_packing.pack(leaves)

    def tree_of(self, leaves: Any) -> Any:
        """optax's state with these leaves."""
        return jax.tree_util.tree_unflatten(self.state_tree, leaves)

    def _operands(self, name: str, tensors: Sequence[torch.Tensor]) -> list[Any]:
        packed = self.packing.pack_tensors(tensors)
        return [as_operand(name, tensor, self.config.x64) for tensor in packed]

    def apply(self, lr: float, extra: dict[str, Any]) -> None:
        """Update the parameters in place from their gradients."""
        live = [p.grad is not None for p in self.params]
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.params]
        gradients = self._operands("a gradient", found)
        params = self._operands("a parameter", self.params) if self.with_params else None
        scale = lr if self.has_rate or lr != 1.0 else None
        arrays, self.state = self.config.call(
            self._step, gradients, self.state, params, scale, extra
        )
        updates = self.packing.unpack_tensors(self.config.export(arrays), self.params)
        if foreach_add_ is not None and all(live):
            foreach_add_(self.params, updates)
            return
        for parameter, update, moved in zip(self.params, updates, live, strict=True):
            if moved:
                parameter.add_(update)


def _copied(x: Any) -> Any:
    return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else jnp.array(x, copy=True)


class OptaxOptimizer(torch.optim.Optimizer):
    """A `torch.optim.Optimizer` whose rule is an optax gradient transformation.

    **Arguments:**

    - ``params``: as for any torch optimiser: tensors, or param groups. A group may have its own
      ``transformation`` and ``lr``.
    - ``transformation``: an `optax.GradientTransformation`, such as ``optax.adamw(1e-3)`` or an
      ``optax.chain``.
    - ``lr``: for torch's lr schedulers. If the transformation comes from
      ``optax.inject_hyperparams`` and has a ``learning_rate``, ``lr`` is that rate (default: the
      one given there). Otherwise it is a factor on the updates, 1.0 by default.

    The step is compiled once; parameters are updated in place. ``state_dict`` holds optax's state
    as tensors. Keyword arguments of ``step`` go to the transformation (``value=loss`` for
    ``optax.contrib.reduce_on_plateau``). A parameter without gradient is left alone, and the
    transformation sees a zero gradient for it.

    **Raises:** ``TypeError`` for a transformation that is none, and for sparse gradients;
    ``ValueError`` for a state that does not fit in ``load_state_dict``.
    """

    def __init__(
        self, params: Iterable[Any], transformation: Any, *, lr: float | None = None
    ) -> None:
        _check_transformation("transformation", transformation)
        self._transformation = transformation
        self._groups: list[_Group] = []
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with the state of a fresh start."""
        group = dict(param_group)
        transformation = group.pop("transformation", self._transformation)
        _check_transformation("transformation of a param group", transformation)
        super().add_param_group(group)
        entry = self.param_groups[-1]
        compiled = _Group(transformation, entry["params"])
        self._groups.append(compiled)
        if entry["lr"] is None:
            entry["lr"] = compiled.initial_rate

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, **extra: Any) -> Any:
        """One update from the present gradients; returns the closure's loss."""
        check_call("OptaxOptimizer.step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        arrays = {name: _extra(value) for name, value in extra.items()}
        for entry, group in zip(self.param_groups, self._groups, strict=True):
            if group.params:
                group.apply(entry["lr"], arrays)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, with optax's state of each group under ``"optax"``."""
        result = super().state_dict()
        result["optax"] = [
            to_torch(group.state_packing.unpack(group.state), copy=True) for group in self._groups
        ]
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if "optax" not in state_dict or len(state_dict["optax"]) != len(self._groups):
            raise ValueError(
                "`state_dict` does not come from an OptaxOptimizer with "
                f"{len(self._groups)} param groups"
            )
        states = [
            _restored(number, group, leaves)
            for number, (group, leaves) in enumerate(
                zip(self._groups, state_dict["optax"], strict=True)
            )
        ]
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "optax"})
        for group, entry, state in zip(self._groups, self.param_groups, states, strict=True):
            group.state, group.params = state, entry["params"]


def _check_transformation(name: str, transformation: Any) -> None:
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise TypeError(f"`{name}` must be an optax.GradientTransformation, got {transformation!r}")


def _extra(value: Any) -> Any:
    return np.asarray(value.detach().cpu()) if isinstance(value, torch.Tensor) else value


def _restored(number: int, group: _Group, leaves: Sequence[torch.Tensor]) -> Any:
    packing = group.state_packing
    found = [tuple(leaf.shape) for leaf in leaves]
    if found != packing.shapes:
        raise ValueError(
            f"`state_dict` has arrays of shapes {found} for the transformation of param group "
            f"{number}, which needs {packing.shapes}; load it into the same transformation and "
            "parameters"
        )
    arrays = to_jax(list(leaves), copy=True)
    return group.config.call(jax.jit(packing.pack), arrays)
