"""torch's own optimisers in JAX: the same formulas, on the state that they keep.

Numbers that change from step to step are computed here in double precision, as torch does, and
handed to the program, so that schedules compile nothing. Sources: torch/optim/adam.py, sgd.py.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import torch

from ._shared import Shared

Row = dict[str, float]


class _Adam:
    """Kingma & Ba 2015; with decoupled weight decay Loshchilov & Hutter 2019."""

    names = ("exp_avg", "exp_avg_sq")

    @staticmethod
    def kind(group: dict[str, Any]) -> Hashable:
        decoupled = group.get("decoupled_weight_decay", False)
        decays = group["weight_decay"] != 0
        return group["amsgrad"], group["maximize"], decays and decoupled, decays and not decoupled

    @classmethod
    def buffers(cls, group: dict[str, Any]) -> tuple[str, ...]:
        return (*cls.names, "max_exp_avg_sq") if group["amsgrad"] else cls.names

    @staticmethod
    def numbers(group: dict[str, Any], steps: int, is_first: bool) -> Row:
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return {
            "step_size": lr / (1 - beta1**steps),
            "root": (1 - beta2**steps) ** 0.5,
            "new1": 1 - beta1,
            "old2": beta2,
            "new2": 1 - beta2,
            "eps": float(group["eps"]),
            "decay": decay,
            "keep": 1 - lr * decay,
        }

    @staticmethod
    def update(kind: Any, p: Any, g: Any, buffers: Sequence[Any], x: dict[str, Any]) -> Any:
        amsgrad, maximize, decoupled, penalised = kind
        g = -g if maximize else g
        if decoupled:
            p = p * x["keep"]
        if penalised:
            g = g + x["decay"] * p
        mean, square, *largest = buffers
        mean = mean + x["new1"] * (g - mean)
        square = square * x["old2"] + x["new2"] * g * g
        largest = [jnp.maximum(largest[0], square)] if amsgrad else []
        root = jnp.sqrt(largest[0] if amsgrad else square) / x["root"] + x["eps"]
        return p - x["step_size"] * mean / root, [mean, square, *largest]


class _SGD:
    names = ("momentum_buffer",)

    @staticmethod
    def kind(group: dict[str, Any]) -> Hashable:
        decays, moves = group["weight_decay"] != 0, group["momentum"] != 0
        return decays, moves, group["nesterov"], group["maximize"]

    @classmethod
    def buffers(cls, group: dict[str, Any]) -> tuple[str, ...]:
        return cls.names if group["momentum"] != 0 else ()

    @staticmethod
    def numbers(group: dict[str, Any], steps: int, is_first: bool) -> Row:
        return {
            "lr": float(group["lr"]),
            "decay": float(group["weight_decay"]),
            "momentum": float(group["momentum"]),
            "new": 1.0 if is_first else 1 - float(group["dampening"]),
        }

    @staticmethod
    def update(kind: Any, p: Any, g: Any, buffers: Sequence[Any], x: dict[str, Any]) -> Any:
        decays, moves, nesterov, maximize = kind
        g = -g if maximize else g
        if decays:
            g = g + x["decay"] * p
        if not moves:
            return p - x["lr"] * g, []
        moving = x["momentum"] * buffers[0] + x["new"] * g
        g = g + x["momentum"] * moving if nesterov else moving
        return p - x["lr"] * g, [moving]


_RULES: dict[type, Any] = {torch.optim.Adam: _Adam, torch.optim.AdamW: _Adam, torch.optim.SGD: _SGD}
KNOWN = "torch.optim.Adam, AdamW or SGD, an OptaxOptimizer or an optax transformation"


class _Member(NamedTuple):
    parameter: torch.Tensor
    group: dict[str, Any]
    names: tuple[str, ...]
    state: dict[str, Any]
    tensors: list[tuple[str, torch.Tensor]]
    step: torch.Tensor | None
    """How many steps were taken; None for SGD."""
    steps: Any
    """The same as an array that shares the tensor's memory."""
    is_first: bool
    """Whether the optimiser does not hold the state yet."""


class TorchRule:
    """An optimiser of torch that steps inside the compiled program. Its ``state`` is up to date
    after each step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._rule: Any = _RULES.get(type(optimizer))
        if self._rule is None:
            raise TypeError(
                f"`optimizer` is a {type(optimizer).__name__}, whose rule is not known here; "
                f"use {KNOWN}"
            )
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            if parameter.is_complex():
                raise TypeError(
                    "`optimizer` holds complex parameters, which torch's rules see as pairs of "
                    "numbers; use an optax transformation"
                )
        self.optimizer = optimizer
        self._groups: list[dict[str, Any]] = []
        self._members: list[_Member] = []
        self._steps: list[int] = []
        self._shared = Shared([], [])
        self._dtypes: tuple[torch.dtype, ...] = ()

    def begin(self, live: Sequence[torch.Tensor], x64: bool) -> tuple[Hashable, Any, Any]:
        """What the program needs for a step of these parameters, in its optimiser's order: what it
        is compiled for, the state, and numbers."""
        if not self._is_current(live):
            self._look_at_state(live)
        known: dict[Any, Row] = {}
        rows = []
        self._steps = [1 if m.steps is None else int(m.steps) + 1 for m in self._members]
        for m, steps in zip(self._members, self._steps, strict=True):
            key = id(m.group), steps, m.is_first
            if key not in known:
                known[key] = self._rule.numbers(m.group, *key[1:])
            rows.append(known[key])
        kinds = tuple([(self._rule.kind(m.group), len(m.names)) for m in self._members])
        table = np.array([[*row.values()] for row in rows], np.float64 if x64 else np.float32)
        return (kinds, tuple(rows[0]), self._dtypes), self._shared.operands(x64), table

    def _is_current(self, live: Sequence[torch.Tensor]) -> bool:
        """Whether the members are these parameters, with the state that the optimiser holds."""
        groups, state = self.optimizer.param_groups, self.optimizer.state
        if len(live) != len(self._members) or len(groups) != len(self._groups):
            return False
        return all(map(operator.is_, groups, self._groups)) and all(
            m.parameter is parameter
            and not m.is_first
            and m.names == self._rule.buffers(m.group)
            and (not m.state or state.get(parameter) is m.state)
            and m.state.get("step") is m.step
            and all(m.state.get(name) is tensor for name, tensor in m.tensors)
            for m, parameter in zip(self._members, live, strict=True)
        )

    def _look_at_state(self, live: Sequence[torch.Tensor]) -> None:
        self._groups = list(self.optimizer.param_groups)
        groups = {id(p): group for group in self._groups for p in group["params"]}
        members = [self._member(p, groups[id(p)]) for p in live]
        found = [row for m in members for row in m.tensors]
        self._shared = Shared([f"optimizer.state {n}" for n, _ in found], [t for _, t in found])
        self._dtypes = tuple([t.dtype for _, t in found])
        self._members = members  # Last, so that after an interrupt all is looked at again.

    def _member(self, parameter: torch.Tensor, group: dict[str, Any]) -> _Member:
        names = self._rule.buffers(group)
        state = self.optimizer.state.get(parameter, {})
        is_first = any(state.get(name) is None for name in names)
        if is_first:
            known = {name: value for name, value in state.items() if value is not None}
            state = {name: torch.zeros_like(parameter.detach()) for name in names} | known
            if self._rule is _Adam and "step" not in state:
                wide = torch.get_default_dtype() is torch.float64 and not group["fused"]
                state["step"] = torch.tensor(0.0, dtype=torch.float64 if wide else torch.float32)
        step = state.get("step")
        return _Member(
            *(parameter, group, names, state, [(name, state[name]) for name in names]),
            *(step, step.numpy() if step is not None and step.is_cpu else step, is_first),
        )

    def update(
        self, kind: Any, params: Any, gradients: Any, state: Any, numbers: Any, loss: Any
    ) -> tuple[list[Any], list[Any], Any]:
        """Traced: the new parameters, the new state in torch, and that in JAX: none."""
        kinds, columns, _ = kind
        rest, new_params, new_state = iter(state), [], []
        for i, (own, count) in enumerate(kinds):
            before = [next(rest) for _ in range(count)]
            # As torch, at least in float32: 0.999 is 1 in bfloat16.
            own_dtype = params[i].dtype
            dtype = own_dtype if own_dtype.itemsize >= 4 else np.dtype(np.float32)
            p, g, *buffers = (a.astype(dtype) for a in (params[i], gradients[i], *before))
            x = {name: numbers[i, j].astype(dtype) for j, name in enumerate(columns)}
            p, buffers = self._rule.update(own, p, g, buffers, x)
            new_params.append(p.astype(params[i].dtype))
            new_state += [new.astype(old.dtype) for new, old in zip(buffers, before, strict=True)]
        return new_params, new_state, None

    def written(self, is_last: bool) -> list[torch.Tensor]:
        """The tensors of the state, which a step writes if it is not only one of several."""
        return self._shared.tensors if is_last else []

    def finish(self, state: None) -> None:
        """Enter the step into the optimiser; again if that was interrupted."""
        for member, steps in zip(self._members, self._steps, strict=True):
            if member.is_first:
                self.optimizer.state[member.parameter] = member.state
            if isinstance(member.steps, np.ndarray):
                member.steps.fill(steps)
            elif member.steps is not None:
                member.steps.fill_(steps)
        if any(member.is_first for member in self._members):
            self._members = [m._replace(is_first=False) for m in self._members]
        # torch's schedulers warn where no step was taken before theirs.
        self.optimizer._opt_called = True  # pyright: ignore[reportAttributeAccessIssue]
