"""Factors between a model and hardware, fitted to the model's weights."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from ...jax_core import hardware
from ...jax_core.hardware._scaling import clipped_share, fit_factor, rounding_error

if TYPE_CHECKING:
    from ..layers._health import LayerHealth

MOST_CLIPPED = 0.01
"""Share of a layer's clipped weights above which there is a warning."""


class WeightClippingWarning(RuntimeWarning):
    """Many weights are beyond what the hardware can have."""


class WeightFit(NamedTuple):
    """How close the weights that a layer has on the hardware are to those of the model."""

    clipped: float
    """Share of the weights that are larger than the hardware's, and clipped."""
    rounding_error: float
    """Root mean square of what rounding and clipping change, relative to that of the weights."""


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
        from ..hardware._parts import hardware_layers
        from ._run import check_backend

        check_backend(backend, None)
        weights: dict[str, np.ndarray] = {}
        for name, layer in hardware_layers(model, backend, voltage_samples is not None, simulate):
            weights[name] = layer.weight.detach().cpu().numpy()
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


def weight_fit(weight: np.ndarray, scaling: hardware.Scaling, limit: int | None) -> WeightFit:
    """What becomes of a layer's weights on hardware with this ``limit``."""
    return WeightFit(clipped_share(weight, scaling, limit), rounding_error(weight, scaling, limit))


def warn_of_clipping(
    fit: WeightFit,
    health: "LayerHealth | None",
    what: str,
    scaling: hardware.Scaling,
    limit: int,
    remedy: str = "choose the factor with snn.hardware.Scaling.fit(model, backend)",
) -> None:
    """Warn if too many weights are clipped and were not before, so once in a training.

    **Arguments:** ``health``: that of the layer's last forward; ``what``: names the layer and the
    backend; ``remedy``: what to do against it.
    """
    before = None if health is None else health.weights
    if fit.clipped <= MOST_CLIPPED or (before is not None and before.clipped > MOST_CLIPPED):
        return
    warnings.warn(
        f"{what}: {fit.clipped:.1%} of the weights exceed the largest, {limit}, with a factor of "
        f"{scaling.weight:g} and are clipped; {remedy}, or keep the weights smaller. The health "
        f"report has the shares of all layers",
        WeightClippingWarning,
        stacklevel=4,
    )
