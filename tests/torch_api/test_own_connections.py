"""Connections that users write, as functions of tensors see them."""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn

from ._networks import spikes


def from_one(step: int) -> Any:
    """A connectivity, of a class of its own, from each input to the neuron ``step`` behind it."""

    @partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
    @dataclasses.dataclass(frozen=True)
    class Shifted:
        axes = 1

        def check(self, spikes: Any, weight: Any, validate: bool) -> None: ...

        def neurons(self, weight: Any) -> int:
            return weight.shape[0]

        def lists(self, spikes: Any) -> Any:
            return jax.numpy.roll(spikes, step, axis=1).swapaxes(0, 1)[:, :, None]

        def rows(self, weight: Any) -> Any:
            return weight[:, None]

    return Shifted()


def test_a_class_that_is_written_anew_is_not_taken_for_the_one_before():
    inputs, weight = spikes(4, 1), torch.full((4, 1), 9.0, dtype=torch.float64)
    once = partial(snn.functional.lif, refractory=torch.inf)
    for step in (0, 1, 2):
        expected = once(inputs.roll(step, dims=-2), 9 * torch.eye(4, dtype=torch.float64))
        found = once(inputs, weight, connections=from_one(step))
        assert found.isfinite().any()
        torch.testing.assert_close(found, expected)


def test_under_compile_there_are_those_of_the_library_only():
    run = partial(snn.functional.lif, connections=from_one(1), refractory=torch.inf)
    compiled = torch.compile(run, backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=r"of type Shifted are not available under torch\.compile"):
        compiled(spikes(4, 1), torch.ones(4, 1, dtype=torch.float64))


def test_lists_may_be_arrays_of_numpy():
    mask = np.array([[1, 0, 1, 0], [0, 1, 1, 1]], bool)
    lists = jax_core.Sparse.of(np.argwhere(mask), 4, 2)
    weight = torch.full((lists.connections,), 5.0, dtype=torch.float64)
    found = snn.functional.lif(spikes(4, 1), weight, connections=lists, refractory=torch.inf)
    dense = 5.0 * torch.as_tensor(mask).double()
    assert found.isfinite().any()
    torch.testing.assert_close(found, snn.functional.lif(spikes(4, 1), dense, refractory=torch.inf))
