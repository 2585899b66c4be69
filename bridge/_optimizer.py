"""`OptaxOptimizer`: any optax transformation as a torch optimiser."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import torch

from ._guards import check_call
from ._param_group import ParamGroup


class OptaxOptimizer(torch.optim.Optimizer):
    """A `torch.optim.Optimizer` whose rule is an optax gradient transformation.

    **Arguments:**

    - ``params``: as for any torch optimiser: tensors, ``module.named_parameters()``, or param
      groups. A group may have its own ``transformation`` and ``lr``. optax sees the parameters of
      a group as a list, or as a dict if they are named (for masks and labels by name).
    - ``transformation``: an `optax.GradientTransformation`, such as ``optax.adamw(1e-3)`` or an
      ``optax.chain``.
    - ``lr``: for torch's lr schedulers. If the transformation comes from
      ``optax.inject_hyperparams`` and has a ``learning_rate`` that no schedule sets, ``lr`` is
      that rate (default: the one given there). Otherwise it is a factor on the updates, 1.0 by
      default.

    The step is compiled once; parameters are updated in place. ``state_dict`` holds optax's state
    as tensors. Keyword arguments of ``step`` go to the transformation (``value=loss`` for
    ``optax.contrib.reduce_on_plateau``).

    A parameter without gradient is left alone, with its part of optax's state and its own count of
    the steps, as in torch's optimisers; to what looks at all gradients together (clipping by the
    global norm) it counts as zero. A step in which no parameter of a group has one does nothing.
    Where gradients of several steps are accumulated (``optax.MultiSteps``, ``optax.apply_every``),
    a missing one is zero instead, and all parameters take the step.

    **Raises:** ``TypeError`` for a transformation that is none or that calls the loss itself
    (``optax.lbfgs``), and for sparse gradients; ``ValueError`` for a state that does not fit in
    ``load_state_dict``, for a key of a param group that has no effect, and in ``step`` for a param
    group whose tensors were exchanged or for a factor ``lr`` on updates that must not be scaled
    (``optax.keep_params_nonnegative``, ``optax.contrib.schedule_free``).
    """

    def __init__(
        self, params: Iterable[Any], transformation: Any, *, lr: float | None = None
    ) -> None:
        _check_transformation("transformation", transformation)
        self._transformation = transformation
        self._groups: list[ParamGroup] = []
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with the state of a fresh start."""
        group = dict(param_group)
        transformation = group.pop("transformation", self._transformation)
        _check_transformation("transformation of a param group", transformation)
        rate = group.get("lr", self.defaults["lr"])
        if not (rate is None or isinstance(rate, (int, float, torch.Tensor))):
            raise TypeError(f"`lr` must be a number or None, got {rate!r}")
        _check_keys(group)
        super().add_param_group(group)
        entry = self.param_groups[-1]
        try:
            compiled = ParamGroup(transformation, entry["params"], entry.get("param_names"))
        except Exception:
            self.param_groups.pop()
            raise
        self._groups.append(compiled)
        if entry["lr"] is None:
            entry["lr"] = compiled.initial_rate

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, **extra: Any) -> Any:
        """One update from the present gradients; returns the closure's loss."""
        if torch.compiler.is_compiling():
            from ._compile import step_outside

            return step_outside(self, closure, extra)
        check_call("OptaxOptimizer.step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        arrays = {name: _extra(name, value) for name, value in extra.items()}
        for group, lr in self.compiled_groups():
            if group.params:
                group.step(lr, arrays)
        return loss

    def compiled_groups(self) -> Iterator[tuple[ParamGroup, float]]:
        """What steps each param group, and its present ``lr``: for the bridge itself."""
        for entry, group in zip(self.param_groups, self._groups, strict=True):
            if not all(map(operator.is_, entry["params"], group.params)):
                raise ValueError(
                    "`param_groups` holds another tensor than the optimizer was made with; load "
                    "values into the old one in place, or make a new optimizer"
                )
            if len(entry) > len(_ENTRY):
                _check_keys(entry)
            yield group, float(entry["lr"])

    def optax_state(self, group: int = 0) -> Any:
        """optax's own state of a param group, for ``transformation.update`` in JAX: a copy.

        Its parameters are a list in the group's order, or, if the optimizer was made from
        ``module.named_parameters()``, a dict of those names. With ``inject_hyperparams`` the
        learning rate is the group's present ``lr``.
        """
        return self._group(group).state(self.param_groups[group]["lr"])

    def load_optax_state(self, state: Any, group: int = 0) -> None:
        """Continue from an optax state: what `optax_state` or ``transformation.update`` returned,
        for parameters in the same form. With ``inject_hyperparams`` its learning rate becomes the
        group's ``lr``.

        **Raises:** ``ValueError`` if structure, shapes or dtypes are not those of `optax_state`.
        """
        own = self._group(group)
        own.replace(own.accepted(state), own.params)
        rate = own.rate_of(state)
        if rate is not None:
            self.param_groups[group]["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, with optax's state of each group under ``"optax"``."""
        result = super().state_dict()
        result["optax"] = [group.tensors() for group in self._groups]
        result["optax_shares"] = [group.shares() for group in self._groups]
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if "optax" not in state_dict or len(state_dict["optax"]) != len(self._groups):
            raise ValueError(
                "`state_dict` does not come from an OptaxOptimizer with "
                f"{len(self._groups)} param groups"
            )
        states = [
            group.restored(leaves)
            for group, leaves in zip(self._groups, state_dict["optax"], strict=True)
        ]
        own = ("optax", "optax_shares")
        super().load_state_dict({k: v for k, v in state_dict.items() if k not in own})
        shares = state_dict.get("optax_shares", [None] * len(states))
        rows = zip(self._groups, self.param_groups, states, shares, strict=True)
        for group, entry, state, others in rows:
            group.replace(state, entry["params"], others)

    def __getstate__(self) -> dict[str, Any]:
        groups = [(g.transformation, g.tensors(), g.shares()) for g in self._groups]
        return {**super().__getstate__(), "transformation": self._transformation, "optax": groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = dict(state)
        groups, transformation = own.pop("optax", None), own.pop("transformation", None)
        super().__setstate__(own)
        if groups is None:  # from load_state_dict
            return
        self._transformation = transformation
        self._groups = []
        for (rule, tensors, shares), entry in zip(groups, self.param_groups, strict=True):
            group = ParamGroup(rule, entry["params"], entry.get("param_names"))
            group.replace(group.restored(tensors), group.params, shares)
            self._groups.append(group)

    def _group(self, group: int) -> ParamGroup:
        if not 0 <= group < len(self._groups):
            raise ValueError(f"`group` must be from 0 to {len(self._groups) - 1}, got {group!r}")
        return self._groups[group]


_ENTRY = ("params", "lr")
_KEYS = {
    *_ENTRY,
    *("param_names", "name"),
    *("initial_lr", "max_lr", "min_lr", "swa_lr"),  # of torch's lr schedulers
}


def _check_keys(group: dict[str, Any]) -> None:
    for key in group:
        if key not in _KEYS:
            raise ValueError(
                f"`{key}` in a param group has no effect: a param group takes params, lr, "
                "transformation and name. Settings of the rule belong into the transformation, "
                f"such as {{'params': ..., 'transformation': {_BELONGS.get(key, _ELSE)}}}"
            )


_ELSE = "optax.adam(1e-3, ...)"
_BELONGS = {
    "weight_decay": "optax.adamw(1e-3, weight_decay=...)",
    "betas": "optax.adam(1e-3, b1=..., b2=...)",
    "eps": "optax.adam(1e-3, eps=...)",
    "amsgrad": "optax.amsgrad(1e-3)",
    "momentum": "optax.sgd(1e-3, momentum=...)",
    "nesterov": "optax.sgd(1e-3, momentum=..., nesterov=True)",
    "maximize": "optax.chain(optax.scale(-1), rule)",
}


def _check_transformation(name: str, transformation: Any) -> None:
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
        raise TypeError(f"`{name}` must be an optax.GradientTransformation, got {transformation!r}")


def _extra(name: str, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return np.asarray(value.detach().cpu())
    if isinstance(value, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        return value
    raise TypeError(
        f"`{name}` of OptaxOptimizer.step is a {type(value).__name__}; pass tensors, arrays or "
        "numbers (a transformation that calls the loss itself, such as optax.lbfgs, cannot be used)"
    )
