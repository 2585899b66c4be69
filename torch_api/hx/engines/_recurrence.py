"""Recurrent networks in continuous time: populations that spike into each other, as one layer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...layers._health import Health
from .._handle import Handle
from ..modules.neuron._aelif import AELIF
from ..modules.neuron._li import LI
from ..modules.types._projection import Projection
from ._arriving import joined
from ._call import Call, Clock
from ._engine import Engine
from ._neurons import joint_simulation
from ._raster import with_same_room
from ._room import spikes_with_room
from ._spiking import keep_spikes


def fill_recurrent(engine: Engine, wrapper: Call) -> None:
    """Simulate the modules of a wrapper as they are connected, and fill their handles."""
    title, calls = wrapper.module.title, wrapper.inner
    for call in calls:
        known = isinstance(call.module, Projection | AELIF | LI)
        if not known or call.module.has_own_forward():
            raise ValueError(
                f"{title}: in the event engine it wraps synapses, spiking neurons and read-outs; "
                f"for {call.module.title} use Experiment(engine='euler')"
            )
    populations = [call for call in calls if isinstance(call.module, AELIF)]
    own = {id(call.outputs[0]) for call in populations}
    projections = [call for call in calls if isinstance(call.module, Projection)]
    for call in projections:
        if not _comes_from(call, own):
            engine.execute(call)
    if populations:
        _fill_populations(wrapper.module, populations, projections, engine.clock)
    for call in projections:
        if _comes_from(call, own):
            engine.execute(call)
    for call in calls:
        if isinstance(call.module, LI):
            engine.execute(call)


def _comes_from(call: Call, handles: set[int]) -> bool:
    """Whether a synapse reads one of these handles."""
    return id(call.module.only(call.inputs)) in handles


def _fill_populations(
    wrapper: Any, populations: Sequence[Call], projections: Sequence[Call], clock: Clock
) -> None:
    """Simulate all populations as one recurrent layer, and fill their handles."""
    times, weight = _input_from_outside(wrapper.title, populations)
    recurrent_weight = _recurrent_weight(populations, projections, weight)
    simulate = partial(
        joint_simulation([call.module for call in populations], times),
        times,
        weight,
        recurrent_weight,
        t_max=clock.duration,
        return_health=True,
    )
    out, health, wrapper.spike_room = spikes_with_room(simulate, wrapper.spike_room)
    sizes = [call.module.size for call in populations]
    counts = zip(*(count.split(sizes) for count in health if count is not None), strict=True)
    for call, spikes, each in zip(populations, out.split(sizes, dim=1), counts, strict=True):
        keep_spikes(call, spikes, Health(*each), (times, weight), clock)


def _input_from_outside(title: str, populations: Sequence[Call]) -> tuple[Tensor, Tensor]:
    """Spike times ``(batch, in, k)``, and weights ``(neurons, in)`` with a block per population."""
    times, blocks = [], []
    for call in populations:
        call.module.check_terms()
        filled = [handle for handle in call.inputs if _is_filled(handle)]
        if filled:
            found, weight = joined(call.module.title, filled)
            times.append(found)
            blocks.append(call.module.in_voltage(weight))
    if not times:
        raise ValueError(f"{title}: none of its neurons has a synapse from outside the wrapper")
    like = blocks[0]
    blocks = iter(blocks)
    rows = [
        next(blocks) if any(map(_is_filled, call.inputs)) else like.new_zeros(call.module.size, 0)
        for call in populations
    ]
    return torch.cat(with_same_room(times), dim=1), torch.block_diag(*rows)


def _is_filled(handle: Handle) -> bool:
    return handle.producer is None


def _recurrent_weight(
    populations: Sequence[Call], projections: Sequence[Call], like: Tensor
) -> Tensor:
    """All connections between the populations, ``(neurons, neurons)``."""
    rows = []
    for post in populations:
        row = []
        for pre in populations:
            block = like.new_zeros(post.module.size, pre.module.size)
            for call in projections:
                if call.inputs[0] is pre.outputs[0] and any(
                    call.outputs[0] is handle for handle in post.inputs
                ):
                    call.module.check_input(pre.module.size)
                    block = block + post.module.in_voltage(call.module.used_weight())
            mask = pre.module.mask
            row.append(block if mask is None else block * mask.to(block))
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)
