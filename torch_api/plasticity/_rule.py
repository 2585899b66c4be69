"""How rules of ``jax_core`` take tensors, and change the weights of layers."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jax import Array
from torch import Tensor

from ...jax_core import Events
from ...jax_core.plasticity import PlasticityState
from ...jax_core.plasticity._check import Call, check_call, state_shapes
from ...jax_core.plasticity._rule import Reduction, Rule, change_of, named_signal
from .._validate import (
    as_array,
    check_like,
    check_spike_tensor,
    check_spikes,
    check_tensor,
    stand_in,
    values_are_checked,
)
from ..functional._layer import call_as_is
from ..layers._connection_list import times_of_events
from ._layer_weights import LayerWeights


class TensorRule(Rule):
    """Rules for tensors and layers; their numbers and equations are those of ``jax_core``."""

    kind: ClassVar[Any]
    """The rule of ``jax_core``."""

    @torch.no_grad()
    def __call__(
        self,
        weight: Any,
        pre: Any,
        post: Any,
        *,
        reduction: Reduction = "mean",
        t_max: float = math.inf,
        state: Any = None,
        return_state: bool = False,
        **signals: Any,
    ) -> Any:
        """The change of the weights by the spikes of a batch; it has no gradient.

        **Arguments:**

        - ``weight``: ``(out, in)``; or of each sample, ``(..., out, in)``, which matters to rules
          whose change depends on it.
        - ``pre``: spikes of the inputs, as they arrive, seconds, ``(..., in, k)``, ascending,
          ``inf`` where there is no spike; or ``Events`` ``(..., M)``.
        - ``post``: spikes of the neurons, likewise: ``(..., out, m)`` or ``Events``. Simulated or
          observed, all are the same.
        - ``reduction``: of the samples' changes, each from the same weights: ``"mean"``, ``"sum"``,
          or ``"none"``, which keeps the batch.
        - ``t_max``: where the piece ends, seconds; later spikes and rewards do not count.
        - ``state``: the `PlasticityState` to begin with, an earlier call's, whose end is this one's
          time 0, so that pieces give what one run gives. ``None``: nothing happened before.
        - ``return_state``: also return the state at ``t_max``, which must be finite then.
        - ``signals``: rewards or learning signals, of rules that take such.

        **Returns:** the change ``(out, in)``, or ``(..., out, in)`` unreduced; with
        ``return_state`` a tuple of it and the state.

        **Raises:** ``TypeError`` or ``ValueError`` naming the argument.
        """
        signal, times = named_signal(self, signals)
        call = Call(weight, pre, post, signal, times, state)
        _check_tensors(self, call)
        values = values_are_checked()
        arrays = _converted(call, as_array if values else stand_in)
        check_call(self, arrays, reduction, t_max, return_state, values=values)
        return _bridged(self, call, reduction, t_max, return_state)

    @torch.no_grad()
    def update_(
        self,
        layer: Any,
        pre: Tensor | Events,
        post: Tensor | Events,
        *,
        weight: str = "weight",
        reduction: Reduction = "mean",
        t_max: float | None = None,
        state: PlasticityState | None = None,
        return_state: bool = False,
        **signals: Any,
    ) -> PlasticityState | None:
        """Change the weights of a layer in place, after a forward of it.

        They end between ``w_min`` and ``w_max``. With a mask or connections, those that there are
        change, at the cost of all.

        **Arguments:**

        - ``layer``: a `LIF` or `RecurrentLIF`, without synaptic or dendritic delays. Axonal ones
          count: a presynaptic spike comes when it arrives.
        - ``pre``, ``post``: what the layer was given, and what it gave, in simulation or hardware.
        - ``weight``: ``"weight"``; or ``"recurrent_weight"``, where ``pre`` is as ``post`` what the
          layer gave. Simultaneous spikes count as potentiation there, too.
        - ``t_max``: ``None`` for that of the layer.
        - others: as in a call of the rule; ``state``, ``return_state``: for spikes without delays.

        **Returns:** the state, with ``return_state``; else ``None``.
        """
        weights = LayerWeights.of(layer, weight)
        end = weights.layer.t_max if t_max is None else t_max
        if reduction == "none":
            raise ValueError(
                "reduction must be 'mean' or 'sum' for one layer, got 'none'; rule(weight, pre, "
                "post, reduction='none') returns the changes by each sample"
            )
        if weights.is_delayed and (return_state or state is not None):
            raise ValueError(
                "state and return_state of update_ are for layers without delays of these spikes: "
                "those on their way at the end of a piece would be lost; call the rule with pre as "
                "it arrives, and give what arrives later to the next piece"
            )
        options: dict[str, Any] = {"reduction": reduction, "t_max": end, "state": state, **signals}
        given = weights.dense(), weights.arriving(pre), post
        found = self(*given, return_state=return_state, **options)
        change, after = found if return_state else (found, None)
        weights.add_(change, self.w_min, self.w_max)
        return after


def _check_tensors(rule: Rule, call: Call) -> None:
    """Check types, dtypes and devices."""
    check_tensor(call.weight, "weight", "a tensor of shape (out, in)")
    for name, spikes in (("pre", call.pre), ("post", call.post)):
        if isinstance(spikes, Events):
            check_like(check_spikes(spikes, None, name), call.weight, name, "weight")
        else:
            check_spike_tensor(spikes, name)
            check_like(spikes, call.weight, name, "weight")
    others = {f"{rule.signal}": call.signal, f"{rule.signal}_times": call.signal_times}
    if isinstance(call.state, PlasticityState):
        others |= {f"state.{name}": x for name, x in call.state._asdict().items()}
    for name, x in others.items():
        if hasattr(x, "shape"):
            check_tensor(x, name, "a tensor")
            check_like(x, call.weight, name, "weight")


def _converted(call: Call, convert: Callable[[Tensor], Any]) -> Call:
    """The call with all tensors as something else."""

    def one(x: Any) -> Any:
        if isinstance(x, Events | PlasticityState):
            return type(x)(*map(one, x))
        return convert(x) if isinstance(x, Tensor) else x

    return Call(*map(one, call))


def _bridged(
    rule: TensorRule, call: Call, reduction: Reduction, t_max: float, return_state: bool
) -> Any:
    outputs, inputs = call.weight.shape[-2:]
    pre, post = (
        times_of_events(spikes, neurons, t_max) if isinstance(spikes, Events) else spikes
        for spikes, neurons in ((call.pre, inputs), (call.post, outputs))
    )
    signal = call.signal
    if isinstance(signal, numbers.Real):
        signal = call.weight.new_full(call.batch, float(signal))
    tensors = {"signal": signal, "signal_times": call.signal_times}
    if call.state is not None:
        tensors |= {f"state_{name}": x for name, x in call.state._asdict().items()}
    change, *end = call_as_is(
        change_by_rule,
        call.weight,
        pre,
        post,
        kind=rule.kind,
        reduction=reduction,
        t_max=float(t_max),
        return_state=return_state,
        **{name: x for name, x in tensors.items() if x is not None},
        **{field.name: getattr(rule, field.name) for field in dataclasses.fields(rule.kind)},
    )
    if not return_state:
        return change
    shapes, given = state_shapes(rule, call.batch, outputs, inputs), iter(end)
    return change, PlasticityState(*(None if one is None else next(given) for one in shapes))


def change_by_rule(
    weight: Array,
    pre: Array,
    post: Array,
    *,
    kind: type[Rule],
    reduction: Reduction,
    t_max: Array | float,
    return_state: bool,
    signal: Array | None = None,
    signal_times: Array | None = None,
    **others: Any,
) -> tuple[Array, ...]:
    """What a rule of ``kind`` does, with its numbers and the parts of its state by name."""
    parts = {f"state_{name}": name for name in PlasticityState._fields}
    given = {parts[name]: others.pop(name) for name in list(others) if name in parts}
    state = PlasticityState(**given) if given else None
    signals = signal, signal_times
    change, end = change_of(
        kind(**others), weight, pre, post, signals, state, t_max, reduction, return_state
    )
    return change, *(() if end is None else (x for x in end if x is not None))
