"""The layers of the mock chip as calls of the simulation, compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..._compiled import compiled
from ...layer._lif import lif
from ...layer._trace import lif_observed_trace
from ...neuron._constants import Form, form_of
from ..worker._contract import HardwareLimitError


def check_ends(k: int, built: dict[str, Any]) -> None:
    """Refuse neurons that would spike for ever."""
    endless = (built["v_leak"] > np.asarray(built["v_threshold"])) & np.isfinite(
        built["refractory"]
    )
    if endless.any():
        raise HardwareLimitError(
            f"neurons of layer {k} spike without end, as v_leak is above v_threshold; set the end "
            f"of the samples (t_max)"
        )


def _split(built: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Arrays, numbers, and whether thresholds differ from sample to sample."""
    arrays = {name: x for name, x in built.items() if isinstance(x, np.ndarray)}
    numbers = {name: x for name, x in built.items() if name not in arrays}
    return arrays, numbers, np.ndim(built["v_threshold"]) == 2


def simulate(
    times: np.ndarray, built: dict[str, Any], max_spikes: int, duration: float
) -> tuple[np.ndarray, bool]:
    """Spike times, and whether a neuron had more than ``max_spikes``."""
    arrays, numbers, is_noisy = _split(built)
    form = form_of(built["tau_mem"], built["tau_syn"], built["refractory"])
    numbers["t_max"] = duration
    out, overflow = _simulate(times, arrays, numbers, max_spikes, form, is_noisy)
    return np.asarray(out), bool(np.asarray(overflow).any())


@compiled("the mock", static_argnums=(3, 4, 5))
def _simulate(
    times: np.ndarray,
    arrays: dict[str, Any],
    numbers: dict[str, Any],
    max_spikes: int,
    form: Form,
    is_noisy: bool,
) -> tuple[Array, Array]:
    options: dict[str, Any] = {"max_spikes": max_spikes, "form": form, "validate": False}

    def one(times: Any, arrays: dict[str, Any]) -> tuple[Array, Array]:
        given = {**arrays, **numbers}
        weight = given.pop("weight")
        out, health = lif(times, weight, **given, **options, return_health=True)
        return out, health.overflow

    if not is_noisy:
        return one(times, arrays)
    axes = {name: 0 if name == "v_threshold" else None for name in arrays}
    return jax.vmap(one, in_axes=(0, axes))(times, arrays)


def trace(
    times: np.ndarray, built: dict[str, Any], own: np.ndarray, looks: np.ndarray
) -> np.ndarray:
    arrays, numbers, is_noisy = _split(built)
    weight, threshold = arrays.pop("weight"), arrays.pop("v_threshold", None)

    def sample(times: Any, own: Any, threshold: Any) -> Array:
        given = {} if threshold is None else {"v_threshold": threshold}
        return lif_observed_trace(
            times, weight, own, jnp.asarray(looks), **arrays, **given, **numbers, validate=False
        )

    if is_noisy:
        given = (jnp.asarray(x) for x in (times, own, threshold))
        return np.asarray(jax.vmap(sample)(*given))
    return np.asarray(sample(times, own, threshold))
