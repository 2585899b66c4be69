"""Recurrent layers, as scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import lax

from .. import _recurrent_layers as _recurrent_layers  # It defines the operator.
from ._registry import TABLE, Needs, Operator

State = tuple[Any, ...]


def _lstm(gates: Any, recurrent: Callable[[Any], Any], state: State) -> State:
    h, c = state
    i, f, g, o = jnp.split(gates + recurrent(h), 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru(gates: Any, recurrent: Callable[[Any], Any], state: State) -> State:
    (h,) = state
    r_in, z_in, n_in = jnp.split(gates, 3, -1)
    r_own, z_own, n_own = jnp.split(recurrent(h), 3, -1)
    r, z = jax.nn.sigmoid(r_in + r_own), jax.nn.sigmoid(z_in + z_own)
    n = jnp.tanh(n_in + r * n_own)
    return (n + z * (h - n),)


def _tanh(gates: Any, recurrent: Callable[[Any], Any], state: State) -> State:
    return (jnp.tanh(gates + recurrent(state[0])),)


def _relu(gates: Any, recurrent: Callable[[Any], Any], state: State) -> State:
    x = gates + recurrent(state[0])
    return (jnp.where(x <= 0, jnp.zeros((), x.dtype), x),)


_CELLS = {"lstm": _lstm, "gru": _gru, "tanh": _tanh, "relu": _relu}


def _layer(
    cell: str, x: Any, state: State, weights: Sequence[Any], reverse: bool
) -> tuple[Any, State]:
    """One layer in one direction: outputs ``(time, ..., hidden)`` and the last state."""
    own, recurrent, *biases = weights
    gates = x @ own.T + (biases[0] if biases else 0)

    def again(h: Any) -> Any:
        return h @ recurrent.T + (biases[1] if biases else 0)

    def step(state: State, gates: Any) -> tuple[State, Any]:
        state = _CELLS[cell](gates, again, state)
        return state, state[0]

    last, outputs = lax.scan(step, state, gates, reverse=reverse)
    return outputs, last


def _run(
    key: Any,
    out: Any,
    x: Any,
    start: Sequence[Any],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    cell: str,
) -> list[Any]:
    if batch_first:
        x = jnp.swapaxes(x, 0, 1)
    directions, each = (2 if bidirectional else 1), (4 if bias else 2)
    ends: list[State] = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            of_layer = weights[place * each : (place + 1) * each]
            begin = tuple(s[place] for s in start)
            found, end = _layer(cell, x, begin, of_layer, reverse=direction == 1)
            outputs.append(found)
            ends.append(end)
        x = jnp.concatenate(outputs, -1)
        if train and dropout and layer < layers - 1:
            kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - dropout, x.shape)
            x = jnp.where(kept, x / (1 - dropout) if dropout < 1 else 0.0, 0.0).astype(x.dtype)
    if batch_first:
        x = jnp.swapaxes(x, 0, 1)
    return [x, *(jnp.stack(states) for states in zip(*ends, strict=True))]


TABLE[torch.ops.evtorch.recurrent.default] = Operator(_run, Needs.KEY)
