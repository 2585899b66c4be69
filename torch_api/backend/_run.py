"""One run of layers on a backend; the model differentiates what was observed."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ...bridge import BridgeError
from ...jax_core import hardware
from .. import functional
from ..layers._health import Health
from ._weights import WeightFit


def refuse_export(backend: hardware.Backend) -> None:
    """Raise `BridgeError` where torch makes a program of what runs on a backend."""
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        raise BridgeError(
            f"{backend.name} is hardware or what stands for it, which programs of torch.export and "
            f"ONNX cannot hold. Save the state_dict and build the module anew where it is loaded"
        )


class Remembers(Protocol):
    """What a run needs of a layer that spikes: it keeps what became of its spikes."""

    def remember(
        self,
        samples: int,
        counts: Health,
        lost: Mapping[str, int] | None = None,
        weights: WeightFit | None = None,
    ) -> None:
        """Keep the counts of a forward, what was lost, and what became of the weights."""
        ...


class Seen(NamedTuple):
    """What a run observed of one layer."""

    spikes: Tensor
    """Spike times ``(..., neurons, k)``, seconds of the model."""
    overflow: np.ndarray | None
    """In how many samples each neuron had more spikes than room, if the backend says so."""
    lost: Mapping[str, int]
    """Of the first layer: events that were lost in the run, by what lost them."""

    @property
    def is_full(self) -> bool:
        """Whether there was no room for some spikes."""
        return self.overflow is not None and bool(self.overflow.any())


class Run(NamedTuple):
    """What was observed in one run."""

    layers: list[Seen]
    voltages: tuple[np.ndarray | None, ...] | None
    lost: Mapping[str, int]


def observe(
    backend: hardware.Backend,
    network: hardware.Network,
    sent: Tensor,
    duration: float,
    *,
    time: float = 1.0,
    voltage_times: np.ndarray | None = None,
) -> Run:
    """Run a network once, and check what the backend says that it observed.

    **Arguments:** ``network``: in the units of the backend; ``sent``: the spikes of its input,
    ``(..., in, k)``, ``duration`` and ``voltage_times``: seconds of the model; ``time``: seconds of
    the backend per second of the model.

    **Raises:** `BackendError` for an observation that cannot be.
    """
    dtype: Any = np.float64 if sent.dtype == torch.float64 else np.float32
    played = sent.detach().cpu().numpy().reshape(-1, *sent.shape[-2:]) * np.asarray(time, dtype)
    when = {"voltage_times": None if voltage_times is None else voltage_times * time}
    seen = backend.run(network, played, duration * time, **when)
    hardware.check_observation(
        seen, network, len(played), duration * time, name=backend.name, **when
    )
    lost = {what: count for what, count in seen.lost.items() if count}
    layers = []
    for k, observed in enumerate(seen.spikes):
        times = np.asarray(observed, np.float64) / time
        layers.append(
            Seen(
                tensor_like(times.reshape(*sent.shape[:-2], *times.shape[1:]), sent),
                None if seen.overflow is None else np.array(seen.overflow[k], np.int32),
                {} if k else lost,
            )
        )
    return Run(layers, seen.voltages, seen.lost)


def differentiate(
    layer: Remembers,
    arriving: Tensor,
    weight: Tensor,
    seen: Seen,
    fit: WeightFit | None,
    **settings: Any,
) -> tuple[Tensor, Health]:
    """The observed spikes of a layer with the gradients of the model; the layer keeps their counts.

    **Arguments:** ``arriving``, ``weight``: spikes ``(..., in, k)`` of its input and the weights
    ``(neurons, in)`` that the hardware has, in the model's unit; ``settings``: constants, ``t_max``
    and what else `functional.lif_observed` takes.
    """
    out, health = functional.lif_observed(
        arriving, weight, seen.spikes, **settings, return_health=True
    )
    if seen.overflow is not None:
        health = health._replace(overflow=torch.as_tensor(seen.overflow, device=out.device))
    layer.remember(seen.spikes.shape[:-2].numel(), health, seen.lost, fit)
    return out, health


def tensor_like(array: np.ndarray, like: Tensor) -> Tensor:
    """An array as a tensor of the dtype and on the device of another."""
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)
