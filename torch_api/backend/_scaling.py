"""Factors between a model and hardware, fitted to the model's weights."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from ...jax_core import hardware
from ...jax_core.hardware._scaling import fit_factor
from ._weights import WeightFit, weight_fit


@dataclass(frozen=True)
class Scaling(hardware.Scaling):
    """Factors between a model and the hardware that runs it.

    ``weight``: hardware weight per unit of model weight, for all layers that run together; `fit`
    chooses it. ``time``: seconds of hardware time per second of model time; 1e-3 where 10 ms in the
    model are 10 µs on the chip.
    """

    layers: dict[str, WeightFit] = field(default_factory=dict, compare=False, repr=False)
    """Of a fitted scaling: what it does to each layer's weights, by the layer's name."""

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        backend: hardware.Backend,
        *,
        time: float = 1.0,
        voltage_samples: int | None = None,
        simulate: Collection[str] = (),
    ) -> "Scaling":
        """Choose ``weight`` for a model's present weights.

        It is the factor with the least rounding error, as sum over layers of its square, among
        those that clip no more than a thousandth of any layer's weights. With backends that take
        any float it is 1. Print the result for the rounding error of each layer.

        A chip whose synapses have a gain of their own, and take no notice of ``weight_unit``, needs
        the factor that this gain sets instead.

        **Arguments:** ``model``, ``backend``, ``voltage_samples``, ``simulate``: as those of
        `on_backend`; ``time``: that of the result.

        **Raises:** as `on_backend`; ``ValueError`` for weights that are not finite.
        """
        # Layers know their backend, and so this file.
        from ..hardware._parts import hardware_layers

        check_backend(backend, None)
        weights: dict[str, np.ndarray] = {}
        for name, layer in hardware_layers(model, backend, voltage_samples is not None, simulate):
            weights[name] = layer.dense_weight().detach().cpu().numpy()
            if not np.isfinite(weights[name]).all():
                raise ValueError(f"model: the weights of {name!r} must be finite")
        if not weights:
            raise ValueError("model has no LIF layer that could run on a backend")
        limit = backend.weight_limit
        scaling = hardware.Scaling(fit_factor(list(weights.values()), limit), time)
        fits = {name: weight_fit(weight, scaling, limit) for name, weight in weights.items()}
        return cls(scaling.weight, scaling.time, fits)

    def __str__(self) -> str:
        if not self.layers:
            return repr(self)
        width = max(len("layer"), *(len(name) for name in self.layers))
        rows = [f"{'layer':<{width}}  clipped  rounding error"]
        for name, fit in self.layers.items():
            rows.append(f"{name:<{width}}  {fit.clipped:>7.2%}  {fit.rounding_error:>14.2%}")
        return "\n".join([repr(self), *rows])


def check_backend(backend: Any, scaling: Any) -> hardware.Scaling:
    """Check a backend and its scaling; **returns** the latter, without scaling by default."""
    if not isinstance(backend, hardware.Backend):
        raise TypeError(
            f"backend must be None (the simulation) or have name, weight_limit and run(...) as "
            f"snn.hardware.Backend says, got {backend!r}"
        )
    if scaling is None:
        return Scaling()
    if not isinstance(scaling, hardware.Scaling):
        raise TypeError(
            f"scaling must be a snn.hardware.Scaling(weight, time), got {type(scaling).__name__}"
        )
    return scaling
