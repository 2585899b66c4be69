"""jaxsnn's layered EventProp in the benchmark's task, set up as in its own example."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import task as t
from contender import Contender
from jaxsnn.event.encode import spatio_temporal_encode
from jaxsnn.event.loss import mse_loss
from jaxsnn.event.modules import LIF, Linear, Source
from jaxsnn.event.modules.lif.lif import LIFParameters
from jaxsnn.event.topology import Topology
from jaxsnn.event.training import update
from jaxsnn.event.types import OptState
from jaxsnn.examples.event.utils import loss_wrapper


def _network(task: t.Task, duplication: int):
    """Return jaxsnn's ``(init, apply)`` for the network; event buffers as in the example."""
    # The very low reset lets every neuron spike only once.
    neuron = LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=t.TAU_SYN, tau_mem=t.TAU_MEM)
    first, second = (jnp.asarray(weight.T) for weight in task.weights)
    first = first * (t.DUPLICATION / duplication)
    builder = Topology(t_max=t.T_MAX, backprop_method="eventprop")
    builder.add(
        {
            "inp": Source(t.INPUTS),
            "lif1": LIF(task.hidden, task.hidden + t.INPUTS * duplication, neuron),
            "lif2": LIF(t.CLASSES, task.hidden + t.CLASSES, neuron),
            "syn1": Linear(pre_weights=first),
            "syn2": Linear(pre_weights=second),
        }
    )
    builder.connect([("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn2"), ("syn2", "lif2")])
    return builder.done()


def jaxsnn_contender(task: t.Task, duplication: int = t.DUPLICATION) -> Contender:
    """The training step of ``yinyang_layered_event_prop.py``, jitted."""
    init, apply = _network(task, duplication)
    encode = partial(
        spatio_temporal_encode, t_late=t.T_LATE, duplication=duplication, duplicate_neurons=False
    )
    batches = [{"inp": jax.vmap(encode)(jnp.asarray(batch))} for batch in task.inputs]
    targets = jnp.asarray(task.targets)
    optimizer = optax.chain(
        optax.scale(1.0 / t.TAU_SYN), optax.clip(t.GRADIENT_CLIP), optax.adam(t.LEARNING_RATE)
    )
    sample_loss = cast(Any, mse_loss)  # declared to return a float, it returns an array
    loss_fn = partial(loss_wrapper, apply, sample_loss, t.TAU_MEM, "lif2", t.CLASSES)
    jitted_update = jax.jit(partial(update, optimizer, loss_fn))
    jitted_loss = jax.jit(loss_fn)
    key = jax.random.PRNGKey(0)
    parameters = init(key)
    state = OptState(optimizer.init(parameters), parameters, key)

    def train_step(i: int) -> float:
        nonlocal state
        state, (loss, _) = jitted_update(state, (batches[i], targets[i]))
        return float(loss[0])

    def forward(i: int) -> np.ndarray:
        _, (first, _) = jitted_loss(state.params, (batches[i], targets[i]))
        return np.asarray(first)

    repeats = "as in its example" if duplication == t.DUPLICATION else "every input spike once"
    return Contender(f"jaxsnn 0.3.0 EventProp, {repeats}", train_step, forward)
