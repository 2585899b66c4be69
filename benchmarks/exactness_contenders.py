"""The layer of `exactness_task.py` in evtorch and in other libraries.

Each function makes a `Layer`. Clock-driven libraries get the input as rasters; their voltages obey
the same equation, so that weights need at most a factor.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from exactness_task import BATCH, INPUTS, NEURONS, T_MAX, TAU_MEM, TAU_SYN, Task
from torch import Tensor


class Layer(NamedTuple):
    """``first()``: first spikes in seconds, ``(batch, out)``, ``inf`` for none; ``step()``: forward
    and gradients of the weights. Both return when the result is there."""

    first: Callable[[], np.ndarray]
    step: Callable[[], object]


def _in_torch(run: Callable[[Tensor], Tensor], weight: Tensor, first: Any) -> Layer:
    """From what goes from weights to something to sum up."""
    weight.requires_grad_()

    def step() -> Tensor:
        out = run(weight)
        return torch.autograd.grad(torch.where(out.isfinite(), out, 0).sum(), weight)[0]

    @torch.no_grad()
    def found() -> np.ndarray:
        return np.asarray(first(run(weight)), np.float64)

    return Layer(found, step)


def evtorch_layer(task: Task, dtype: torch.dtype) -> Layer:
    from evtorch import torch_api as snn

    spikes = torch.tensor(task.spikes, dtype=dtype)[..., None]
    run = partial(
        snn.functional.lif,
        spikes,
        tau_mem=TAU_MEM,
        tau_syn=TAU_SYN,
        t_max=T_MAX,
        refractory=math.inf,
    )
    return _in_torch(run, torch.tensor(task.weight, dtype=dtype), lambda out: out[..., 0])


def exact_event_adjoint(task: Task) -> Layer:
    from exact_event_adjoint import ExactAdjointLinear  # pyright: ignore[reportMissingImports]

    layer = ExactAdjointLinear(INPUTS, NEURONS, 1e3 * TAU_MEM, 1e3 * TAU_SYN, 1.0, 1e3 * T_MAX)
    spikes = torch.tensor(1e3 * task.spikes, dtype=torch.float32)

    def run(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight / (1e3 * TAU_MEM)}, spikes)

    def first(out: Tensor) -> Tensor:
        return torch.where(out < 1e3 * T_MAX, 1e-3 * out, torch.inf)

    return _in_torch(run, torch.tensor(task.weight, dtype=torch.float32), first)


def exact_snn_nn(task: Task) -> Layer:
    from exact_snn import ExactTTFSLinear  # pyright: ignore[reportMissingImports]

    layer = ExactTTFSLinear(
        INPUTS, NEURONS, 1e3 * TAU_MEM, 1e3 * TAU_SYN, 1.0, 1e3 * T_MAX, bias_val=0.0
    )
    spikes = torch.tensor(1e3 * task.spikes.T, dtype=torch.float32)
    no_bias = torch.zeros(NEURONS, 1)

    def run(weight: Tensor) -> Tensor:
        with_bias = torch.cat([weight * (1e3 * TAU_SYN * layer.k_peak), no_bias], dim=1)
        return torch.func.functional_call(layer, {"weight": with_bias}, spikes)

    weight = torch.tensor(task.weight, dtype=torch.float32)
    return _in_torch(run, weight, lambda out: 1e-3 * out.T)


def _in_jax(run: Callable[[Any], Any], weight: Any, first: Callable[[Any], Any]) -> Layer:
    """As `_in_torch`; ``weight`` is a pytree."""
    import jax
    import jax.numpy as jnp

    def loss(weight: Any) -> Any:
        out = run(weight)
        return jnp.sum(jnp.where(jnp.isfinite(out), out, 0))

    gradient, forward = jax.jit(jax.grad(loss, allow_int=True)), jax.jit(run)
    return Layer(
        lambda: np.asarray(first(forward(weight)), np.float64),
        lambda: jax.block_until_ready(gradient(weight)),
    )


def jaxsnn(task: Task) -> Layer:
    import jax
    import jax.numpy as jnp
    from jaxsnn.event.modules import LIF, Linear, Source
    from jaxsnn.event.modules.lif.lif import LIFParameters
    from jaxsnn.event.topology import Topology
    from jaxsnn.event.types import Spike

    # The very low reset lets every neuron spike only once, as in its examples.
    neuron = LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=TAU_SYN, tau_mem=TAU_MEM)
    builder = Topology(t_max=T_MAX, backprop_method="eventprop")
    builder.add(
        {
            "inp": Source(INPUTS),
            "lif": LIF(NEURONS, NEURONS + INPUTS, neuron),
            "syn": Linear(pre_weights=jnp.asarray(task.weight.T, jnp.float32)),
        }
    )
    builder.connect([("inp", "syn"), ("syn", "lif")])
    init, apply = builder.done()
    order = np.argsort(task.spikes, axis=1)
    times = jnp.asarray(np.take_along_axis(task.spikes, order, axis=1), jnp.float32)
    zeros = jnp.zeros_like(times)
    arriving = Spike(times, jnp.asarray(order), zeros, zeros.astype(int), zeros == 0)

    def run(parameters: Any) -> Any:
        out = apply({"inp": arriving}, parameters)["lif"]
        # Spikes of the layer's input are among the events, with indices of their own.
        place = jnp.where(out.internal, out.idx, NEURONS)
        none = jnp.full((BATCH, NEURONS), jnp.inf)
        return none.at[jnp.arange(BATCH)[:, None], place].min(out.time, mode="drop")

    return _in_jax(run, init(jax.random.PRNGKey(0)), lambda out: out)


def eventax(task: Task, dt: float) -> Layer:
    import equinox as eqx  # pyright: ignore[reportMissingImports]
    import jax
    import jax.numpy as jnp
    from eventax.evnn import FFEvNN  # pyright: ignore[reportMissingImports]
    from eventax.neuron_models import LIF  # pyright: ignore[reportMissingImports]

    weight = np.zeros((NEURONS + INPUTS, NEURONS))
    weight[NEURONS:] = task.weight.T
    network = FFEvNN(
        layers=[NEURONS],
        in_size=INPUTS,
        neuron_model=LIF,
        max_solver_time=T_MAX,
        key=jax.random.PRNGKey(0),
        solver_stepsize=dt,
        max_event_steps=2 * (NEURONS + INPUTS),
        output_no_spike_value=jnp.inf,
        thresh=1.0,
        tmem=TAU_MEM,
        tsyn=TAU_SYN,
        vreset=-1000.0,
        init_weights=jnp.asarray(weight, jnp.float32),
        init_bias=0.0,
    )
    trained, rest = eqx.partition(network, eqx.is_inexact_array)
    spikes = jnp.asarray(task.spikes, jnp.float32)[..., None]

    def run(trained: Any) -> Any:
        return jax.vmap(eqx.combine(trained, rest).ttfs)(spikes)

    return _in_jax(run, trained, lambda out: out)


def _on_grid(task: Task, dt: float, neurons: Callable[[Tensor, Tensor], Tensor]) -> Layer:
    """From neurons that turn a raster ``(steps, batch, in)`` and weights into one of spikes."""
    steps = round(T_MAX / dt)
    at = torch.tensor(task.spikes / dt, dtype=torch.float64).long()
    raster = torch.zeros(steps, BATCH, INPUTS)
    raster[at, torch.arange(BATCH)[:, None], torch.arange(INPUTS)] = 1

    def first(out: Tensor) -> Tensor:
        spiking = out > 0
        return torch.where(spiking.any(0), spiking.double().argmax(0) * dt, torch.inf)

    weight = torch.tensor(task.weight, dtype=torch.float32)
    return _in_torch(partial(neurons, raster), weight, first)


def norse(task: Task, dt: float) -> Layer:
    from norse.torch import LIFCell, LIFParameters

    rates = torch.tensor(1 / TAU_SYN), torch.tensor(1 / TAU_MEM)
    cell = LIFCell(LIFParameters(*rates), dt=dt)

    def neurons(raster: Tensor, weight: Tensor) -> Tensor:
        state, out = None, []
        for current in raster @ weight.T:
            spikes, state = cell(current, state)
            out.append(spikes)
        return torch.stack(out)

    return _on_grid(task, dt, neurons)


def snntorch(task: Task, dt: float) -> Layer:
    import snntorch

    cell = snntorch.Synaptic(math.exp(-dt / TAU_SYN), math.exp(-dt / TAU_MEM), threshold=1.0)

    def neurons(raster: Tensor, weight: Tensor) -> Tensor:
        (synapse, membrane), out = cell.init_synaptic(), []
        for current in raster @ weight.T * (dt / TAU_MEM):
            spikes, synapse, membrane = cell(current, synapse, membrane)
            out.append(spikes)
        return torch.stack(out)

    return _on_grid(task, dt, neurons)


def spikingjelly(task: Task, dt: float) -> Layer:
    from spikingjelly.activation_based import (  # pyright: ignore[reportMissingImports]
        functional,
        layer,
        neuron,
    )

    synapse = layer.SynapseFilter(tau=TAU_SYN / dt, step_mode="m")
    membrane = neuron.LIFNode(tau=TAU_MEM / dt, v_reset=0.0, step_mode="m")

    def neurons(raster: Tensor, weight: Tensor) -> Tensor:
        functional.reset_net(synapse)
        functional.reset_net(membrane)
        return membrane(synapse(raster) @ weight.T)

    return _on_grid(task, dt, neurons)


GRIDS = {"norse": norse, "snntorch": snntorch, "spikingjelly": spikingjelly}
CONTENDERS: dict[str, tuple[str, Callable[[Task], Layer]]] = {
    "evtorch, float32": ("evtorch", partial(evtorch_layer, dtype=torch.float32)),
    "evtorch, float64": ("evtorch", partial(evtorch_layer, dtype=torch.float64)),
    "jaxsnn": ("jaxsnn", jaxsnn),
    "eventax, steps of 1 ms": ("eventax", partial(eventax, dt=1e-3)),
    "eventax, steps of 0.1 ms": ("eventax", partial(eventax, dt=1e-4)),
    "exact-event-adjoint": ("exact-event-adjoint", exact_event_adjoint),
    "exact-snn-nn": ("exact-snn-nn", exact_snn_nn),
    **{
        f"{name}, steps of {1e3 * dt:g} ms": (name, partial(make, dt=dt))
        for name, make in GRIDS.items()
        for dt in (TAU_SYN / 5, TAU_SYN / 50, TAU_SYN / 500)
    },
}
"""By name: the distribution on the registry, and what makes the layer."""
