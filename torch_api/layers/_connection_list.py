"""Connections that are fixed one by one, as buffers of a layer."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...jax_core import Events, Sparse
from .._validate import check_spikes, values_are_checked
from ..spikes._events import spike_times_from_events
from ..spikes._room import bucket
from ._input_counts import input_counts


def connection_list(
    mask: Any, connections: Any, shape: tuple[int, int], of: str = ""
) -> np.ndarray | None:
    """Check a mask or a list of connections; **returns** their ends ``(connections, 2)``.

    ``of``: what the arguments' names begin with.
    """
    if mask is not None and connections is not None:
        raise ValueError(f"{of}mask and {of}connections say the same; pass one of them")
    if connections is not None:
        given = connections.detach().cpu() if isinstance(connections, Tensor) else connections
        return np.asarray(given)
    if mask is None:
        return None
    # On its own device, because a default device that holds no values ("meta") has no mask.
    found = mask if isinstance(mask, Tensor) else torch.as_tensor(mask, device="cpu")
    if found.dtype != torch.bool or tuple(found.shape) != shape:
        raise ValueError(
            f"{of}mask must be bool of shape {shape} (out_features, in_features), got "
            f"{found.dtype} of shape {tuple(found.shape)}"
        )
    if found.is_meta:
        raise ValueError(
            f"{of}mask is on device 'meta' and has no values; make it with device='cpu', as the "
            "structure of a layer is fixed when it is made"
        )
    if not of:
        _check_all_hear(found.any(dim=1).cpu().numpy(), "mask has no connection in row")
    return found.nonzero().cpu().numpy()


def _check_all_hear(hear: np.ndarray, problem: str) -> None:
    deaf = np.flatnonzero(~hear)
    if len(deaf):
        raise ValueError(
            f"{problem} {deaf[0]}{' and others' if len(deaf) > 1 else ''}: that neuron would never "
            f"hear anything; connect it, or leave it out of the layer"
        )


class Connected(nn.Module):
    """Buffers with the connections of a layer, and what is computed with them."""

    post: Tensor
    pre: Tensor
    place: Tensor
    source: Tensor
    hearers: Tensor
    hearers_place: Tensor

    def __init__(
        self,
        pairs: np.ndarray,
        shape: tuple[int, int],
        device: torch.device | str | None,
        *,
        all_hear: bool = True,
    ) -> None:
        """``all_hear``: whether each neuron must have a connection."""
        super().__init__()
        outputs, self.inputs = shape
        lists = Sparse.of(pairs, self.inputs, outputs, hearers=True)
        heard = (lists.place < len(pairs)).any(axis=1)
        if all_hear:
            _check_all_hear(np.asarray(heard), "connections has none of neuron")
        for name, values in {
            "post": pairs[:, 0].astype(np.int64),
            "source": pairs[:, 1].astype(np.int64),
            "pre": lists.pre,
            "place": lists.place,
        }.items():
            self.register_buffer(name, torch.as_tensor(values, device=device))
        self.outputs = outputs
        self._set_hearers(lists)
        # Connections of a checkpoint have others.
        self.register_load_state_dict_post_hook(_find_hearers)

    def _set_hearers(self, lists: Sparse) -> None:
        found = {"hearers": lists.post, "hearers_place": lists.post_place}
        for name, values in found.items():
            values = torch.as_tensor(values, device=self.post.device)
            self.register_buffer(name, values, persistent=False)

    @property
    def fan_in(self) -> float:
        """How many inputs a neuron has, on average."""
        return len(self.post) / max(self.outputs, 1)

    def per_weight(self, x: Tensor) -> Tensor:
        """Values of neurons, ``(out,)`` or ``()``, for each connection."""
        return x.to(self.post.device).expand(self.outputs)[self.post]

    def dense(self, weight: Tensor) -> Tensor:
        """A matrix ``(out, in)`` of the weights ``(connections,)``, 0 without a connection."""
        matrix = weight.new_zeros(self.outputs, self.inputs)
        return matrix.index_put((self.post, self.source), weight)

    def rows(self, weight: Tensor) -> Tensor:
        """The weights ``(connections,)`` as lists of neurons' inputs, ``(out, inputs)``."""
        return torch.cat([weight, weight.new_zeros(1)])[self.place.long()]

    def by_list(self, counts: Tensor) -> Tensor:
        """Something of each input, ``(samples, in)``, for lists of neurons' inputs: ``(samples *
        out, inputs of a neuron)``, 0 where a list is shorter."""
        present = self.place < len(self.post)
        return torch.where(present, counts[:, self.pre.long()], 0).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{len(self.post)} of {self.outputs} x {self.inputs}"

    def with_delay(self, delay: Tensor | None) -> Sparse:
        """Connections for ``jax_core``, later by ``delay``, ``(connections,)``."""
        arrays: dict[str, Any] = {"pre": self.pre, "place": self.place, "delay": delay}
        return Sparse(**arrays, inputs=self.inputs, connections=len(self.post))

    def both_ways(self) -> Sparse:
        """The same without delays, and with lists of those that hear each input."""
        arrays: dict[str, Any] = {"post": self.hearers, "post_place": self.hearers_place}
        return dataclasses.replace(self.with_delay(None), **arrays)


def _find_hearers(connected: Connected, _: Any) -> None:
    pairs = torch.stack([connected.post, connected.source], dim=1).cpu().numpy()
    shape = connected.inputs, connected.outputs
    connected._set_hearers(Sparse.of(pairs, *shape, hearers=True))


def numbered(weight: Tensor) -> Tensor:
    """The numbers of all connections of a matrix, row by row, as `Sparse.place`."""
    place = torch.arange(weight.numel(), device=weight.device, dtype=torch.int32)
    return place.reshape(weight.shape)


def one_each(place: Any, connections: int) -> Sparse:
    """Connections of which each has an input of its own, ``(..., connections, k)``.

    ``place``: as `Sparse.place`.
    """
    pre: Any = torch.where(place < connections, place, 0)
    return Sparse(pre, place, None, connections, connections)


def times_of_events(events: Events, inputs: int, t_max: float) -> Tensor:
    """Events as spike times, with room for the most that an input neuron has."""
    if not values_are_checked():
        raise TypeError(
            "spikes must be a spike-time tensor for a layer with a mask or synaptic delays where "
            "torch traces, not Events; convert them with snn.spike_times_from_events"
        )
    check_spikes(events, inputs)
    counts = input_counts(events, inputs, t_max, torch.float32)
    most = int(counts.max()) if counts.numel() else 0
    return spike_times_from_events(events, inputs, max(bucket(most), 1), on_overflow="truncate")
