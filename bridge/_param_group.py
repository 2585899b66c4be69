"""One param group of `OptaxOptimizer`: its transformation, compiled, and optax's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from ._arrays import check_tensor
from ._config import JaxConfig
from ._dtypes import WIDTH, needs_x64
from ._guards import check_call
from ._packing import Packing, Staging
from ._pytree import leaf_name, to_jax, to_torch
from ._rules import accumulates, owners, shortest, unscalable
from ._shares import Share, merged, plain, restored, saved, wrapped
from ._torch_internals import foreach_add_


class ParamGroup:
    """Steps ``params`` in place. optax sees them as a list, or with ``names`` as a dict."""

    def __init__(
        self, transformation: Any, params: Sequence[torch.Tensor], names: Sequence[str] | None
    ) -> None:
        check_call("OptaxOptimizer")
        self.transformation = transformation
        self.params = list(params)
        self.names = names
        if names is not None and len(set(names)) < len(names):
            raise ValueError(f"`params` names several parameters alike: {sorted(names)}")
        self._rule = optax.with_extra_args_support(transformation)
        width = 0
        for position, parameter in enumerate(params):
            check_tensor(f"parameter {position}", parameter)
            width |= WIDTH[parameter.dtype]
        device = params[0].device if params else torch.device("cpu")
        self._config = JaxConfig.capture(needs_x64(width), device.type == "cpu")
        self._packing = Packing([tuple(p.shape) for p in params], [p.dtype for p in params])
        # Snapshots: optax keeps the parameters themselves in some states.
        arrays = self._tree(to_jax([p.detach() for p in self.params], copy=True))
        state = self._config.call(jax.jit(self._rule.init), arrays)
        leaves, self._state_tree = jax.tree_util.tree_flatten(state)
        self._state_packing = Packing([x.shape for x in leaves], [x.dtype for x in leaves])
        # Copies both ways, because the state is donated at every step.
        packing = self._state_packing
        self._pack = jax.jit(lambda arrays: packing.pack([_copied(x) for x in arrays]))
        self._unpack = jax.jit(lambda vectors: [_copied(x) for x in packing.unpack(vectors)])
        self.packed_state = self._config.call(self._pack, leaves)
        """optax's state, as `advance` takes it."""
        # What torch's lr is when the user gives none.
        self.initial_rate = 1.0
        # A scheduled rate is optax's own: it sets it at every step.
        self._has_rate = "learning_rate" in getattr(
            state, "hyperparams", {}
        ) and "learning_rate" not in getattr(state, "hyperparams_states", {})
        if self._has_rate:
            self.initial_rate = shortest(state.hyperparams["learning_rate"])
        self._unscalable = None if self._has_rate else unscalable(transformation)
        self._accumulates = accumulates(state)
        self._owners = owners(self._rule, state, arrays)
        self._shares: list[Share] | None = None
        x64 = self._config.x64
        self._gradients = Staging("a gradient", self._packing, device, x64)
        self._values = None
        if self._needs_params(arrays, state):
            self._values = Staging("a parameter", self._packing, device, x64)
        self._step = jax.jit(self._update, donate_argnums=1)
        self._step_share = jax.jit(self._update_share, donate_argnums=1)

    def _tree(self, arrays: Sequence[Any]) -> Any:
        if self.names is None:
            return list(arrays)
        return dict(zip(self.names, arrays, strict=True))

    def _needs_params(self, arrays: Any, state: Any) -> bool:
        failures = (ValueError, TypeError, AttributeError)
        try:
            self._config.call(jax.eval_shape, self._rule.update, arrays, state)
            return False
        except failures:
            pass
        try:
            self._config.call(jax.eval_shape, self._rule.update, arrays, state, arrays)
        except failures as error:
            if "value_fn" in str(error):
                raise TypeError(
                    "`transformation` cannot be used: it evaluates the loss itself, as optax.lbfgs "
                    f"does. optax says: {error}"
                ) from error
        return True

    def _advance(self, arrays: Any, leaves: Any, params: Any, lr: Any, extra: Any) -> Any:
        """Traced: updates in the parameters' dtypes, and the leaves of the new state."""
        values = None if params is None else self._tree(params)
        state = self._state_of(leaves)
        if self._has_rate:
            state = _with_rate(state, lr)
        update: Any = self._rule.update
        updates, state = update(self._tree(arrays), state, values, **extra)
        if self.names is not None:
            updates = [updates[name] for name in self.names]
        if lr is not None and not self._has_rate:
            updates = [u * jnp.asarray(lr, u.dtype) for u in updates]
        # A copy, because an update that is the gradient itself would come out as torch's own
        # memory, and a state that is a constant as one buffer for all.
        updates = [jnp.array(u, a.dtype, copy=True) for u, a in zip(updates, arrays, strict=True)]
        return updates, [_copied(x) for x in jax.tree_util.tree_leaves(state)]

    def _update(self, gradients: Any, state: Any, params: Any, lr: Any, extra: Any) -> Any:
        """Traced: `advance`, all packed."""
        values = None if params is None else self._packing.unpack(params)
        arrays = self._packing.unpack(gradients)
        updates, state = self.advance(arrays, state, values, lr, extra)
        return self._packing.pack(updates), state

    def advance(self, gradients: Any, state: Any, params: Any, lr: Any, extra: Any) -> Any:
        """Traced: the updates of all parameters, and the new `packed_state`; arguments are lists.

        ``lr`` is what `rate` returned.
        """
        leaves = self._state_packing.unpack(state)
        updates, leaves = self._advance(gradients, leaves, params, lr, extra)
        return updates, self._state_packing.pack(leaves)

    def _update_share(
        self, gradients: Any, state: Any, params: Any, lr: Any, extra: Any, moving: Any, common: Any
    ) -> Any:
        """Traced: `_update` of the parameters that are ``moving``, from the ``common`` leaves of
        their share, and the new ones."""
        given = iter(common)
        before = [
            next(given) if owner is None else leaf
            for leaf, owner in zip(self._state_packing.unpack(state), self._owners, strict=True)
        ]
        values = None if params is None else self._packing.unpack(params)
        arrays = self._packing.unpack(gradients)
        updates, after = self._advance(arrays, before, values, lr, extra)
        leaves = [
            new if owner is None else jnp.where(moving[owner], new, old)
            for new, old, owner in zip(after, before, self._owners, strict=True)
        ]
        common = [_copied(x) for x, owner in zip(after, self._owners, strict=True) if owner is None]
        return self._packing.pack(updates), self._state_packing.pack(leaves), common

    def _state_of(self, leaves: Any) -> Any:
        return jax.tree_util.tree_unflatten(self._state_tree, leaves)

    def rate(self, lr: float) -> float | None:
        """What the transformation is to know of torch's ``lr``: None if that is a factor of 1."""
        if lr != 1.0 and self._unscalable is not None:
            raise ValueError(
                f"`lr` = {lr} is a factor on the updates here, and those of optax's "
                f"{self._unscalable} must not be scaled; leave lr at 1 and give the rate to the "
                "transformation, for torch's schedulers through optax.inject_hyperparams("
                "lambda learning_rate: ...)(learning_rate=...)"
            )
        return lr if self._has_rate or lr != 1.0 else None

    def moves_together(self, live: Sequence[bool]) -> bool:
        """Whether a step with gradients of these parameters is one of all of them."""
        return self._accumulates or (self._shares is None and all(live))

    def step(self, lr: float, extra: dict[str, Any]) -> None:
        """Update the parameters in place from their gradients."""
        rate = self.rate(lr)
        live = [p.grad is not None for p in self.params]
        if not any(live):
            return
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.params]
        gradients = self._gradients.fill(found)
        values = None if self._values is None else self._values.fill(self.params)
        if not self.moves_together(live):
            self._step_shares(np.array(live), gradients, values, rate, extra)
            return
        arrays, self.packed_state = self._config.call(
            self._step, gradients, self.packed_state, values, rate, extra
        )
        updates = self._gradients.unpack(self._config.export(arrays))
        if foreach_add_ is not None:
            foreach_add_(self.params, updates)
            return
        for parameter, update in zip(self.params, updates, strict=True):
            parameter.add_(update)

    def _step_shares(self, live: np.ndarray, gradients: Any, values: Any, *rest: Any) -> None:
        """A step of the ``live`` parameters alone; the others keep what optax knows of them."""
        after = []
        pairs = []
        for share in self._shares or [Share(np.ones_like(live), self._common())]:
            moving, resting = share.members & live, share.members & ~live
            if resting.any():
                after.append(Share(resting, share.common))
            if not moving.any():
                continue
            arrays, self.packed_state, common = self._config.call(
                self._step_share, gradients, self.packed_state, values, *rest, moving, share.common
            )
            after.append(Share(moving, common))
            # Not into the gradients' own vectors, which the next share reads.
            updates = self._packing.unpack(self._config.export(arrays))
            rows = zip(self.params, updates, moving, strict=True)
            pairs += [(parameter, update) for parameter, update, moves in rows if moves]
        for parameter, update in pairs:
            parameter.add_(update)
        shares = merged(after)
        self._shares = shares if len(shares) > 1 else None

    def _common(self) -> list[jax.Array]:
        leaves = zip(self.leaves(), self._owners, strict=True)
        return [leaf for leaf, owner in leaves if owner is None]

    def leaves(self) -> list[jax.Array]:
        """Copies of the arrays in optax's state, in flat order."""
        return self._config.call(self._unpack, self.packed_state)

    def tensors(self) -> list[torch.Tensor]:
        """`leaves` for a state dict: PRNG keys as their data."""
        return to_torch([plain(x) for x in self.leaves()])

    def shares(self) -> list[Any] | None:
        """For a state dict: what differs between parameters that missed different steps, None if
        nothing does."""
        return saved(self._shares)

    def state(self, lr: float) -> Any:
        """optax's state, with the learning rate that the next step takes."""
        state = self._state_of(self.leaves())
        return self._config.call(_with_rate, state, lr) if self._has_rate else state

    def restored(self, tensors: Sequence[Any]) -> Any:
        """What `replace` takes, from `tensors`."""
        own = self.leaves()
        arrays = to_jax(list(tensors), copy=True)
        if len(arrays) == len(own):
            arrays = [wrapped(a, x) for a, x in zip(arrays, own, strict=True)]
        names = [f"array {i} of `state_dict`" for i in range(len(arrays))]
        return self._checked("state_dict", names, arrays)

    def accepted(self, state: Any) -> Any:
        """What `replace` takes, from an optax state that `state` or pure optax returned."""
        paths, tree = jax.tree_util.tree_flatten_with_path(state)
        if tree != self._state_tree:
            raise ValueError(
                f"`state` has the structure {tree}, but this param group's transformation has "
                f"{self._state_tree}; use the same transformation, on the parameters as a "
                f"{'list' if self.names is None else 'dict with the names of param_names'}"
            )
        names = [leaf_name("state", path) for path, _ in paths]
        return self._checked("state", names, [leaf for _, leaf in paths])

    def rate_of(self, state: Any) -> float | None:
        """The learning rate in an optax state, where it is the group's lr."""
        return shortest(state.hyperparams["learning_rate"]) if self._has_rate else None

    def _checked(self, source: str, names: Sequence[str], arrays: Sequence[Any]) -> Any:
        own = list(zip(self._state_packing.shapes, self._state_packing.dtypes, strict=True))
        if len(arrays) != len(own):
            raise ValueError(
                f"`{source}` holds {len(arrays)} arrays, but this param group's transformation "
                f"needs {len(own)}; use the same transformation and parameters"
            )
        leaves = []
        for name, array, (shape, dtype) in zip(names, arrays, own, strict=True):
            value = np.asarray(array, dtype) if isinstance(array, (int, float)) else array
            if np.shape(value) != shape or value.dtype != dtype:
                raise ValueError(
                    f"{name} is {value.dtype}{list(np.shape(value))}, but this "
                    f"param group's transformation needs {dtype}{list(shape)}; use the same "
                    "transformation and parameters"
                )
            leaves.append(value)
        return self._config.call(self._pack, leaves)

    def replace(
        self, packed: Any, params: Sequence[torch.Tensor], shares: list[Any] | None = None
    ) -> None:
        """Take over a state from `restored` or `accepted`, and what `shares` returned."""
        self._shares = restored(shares, self._common(), len(params))
        self.packed_state, self.params = packed, list(params)


def _copied(x: Any) -> Any:
    return wrapped(jnp.array(plain(x), copy=True), x)


def _with_rate(state: Any, lr: Any) -> Any:
    old = state.hyperparams["learning_rate"]
    rates = {**state.hyperparams, "learning_rate": jnp.asarray(lr, old.dtype)}
    return state._replace(hyperparams=rates)
