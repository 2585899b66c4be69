"""Batches are filled up to few sizes with silent samples, of which nothing is seen outside."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn
from evtorch.torch_api.functional._batch import padded_size
from evtorch.torch_api.hx.engines._call import Clock
from evtorch.torch_api.hx.engines._traces import integrator_trace, looks

from .._thorough import usual

F64 = torch.float64
TRUNCATE: dict[str, Any] = {"max_spikes": 3, "t_max": 0.05, "on_overflow": "truncate"}


def times(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(*shape, generator=generator, dtype=F64) * 3e-2).sort().values


def values(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2), dtype=F64)


def total(out: torch.Tensor) -> torch.Tensor:
    return torch.where(out == math.inf, 0, out).sin().sum()


def test_sizes_cost_an_eighth_and_are_eight_for_each_power_of_two():
    sizes = [padded_size(samples) for samples in range(1, 4097)]
    assert all(n <= size <= 1.125 * n for n, size in enumerate(sizes, 1))
    assert sizes[:18] == [*range(1, 17), 18, 18]
    assert len(set(sizes)) == 16 + 8 * 8
    assert [padded_size(n, 20) for n in (0, 1, 20, 21)] == [0, 20, 20, 22]


def test_an_epoch_of_seven_sizes_needs_the_programs_of_two(compiled):
    torch.manual_seed(0)
    model = snn.LIF(4, 6, refractory=math.inf, dtype=F64)
    data = times(40, 4, 1).requires_grad_()

    def step(samples: int) -> tuple[torch.Tensor, ...]:
        out = model(data[:samples])
        return out.detach(), *torch.autograd.grad(total(out), [data, *model.parameters()])

    found = {n: step(n) for n in (36, 40)}
    first = len(compiled)
    for n in (37, 33, 40, 34, 38, 35, 36):
        found[n] = step(n)
    assert len(compiled) == first, compiled[first:]
    with snn.pad_batches(False):
        exact = step(33)
    for a, b in zip(found[33], exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert len(compiled) > first
    assert torch.equal(found[38][0], found[40][0][:38])


def test_the_last_batch_may_run_as_the_others(compiled):
    layer = snn.LIF(4, 6, tau_mem=1e-2, tau_syn=3e-3, **TRUNCATE, dtype=F64)
    data = times(9, 4, 1)
    with snn.pad_batches(least=9):
        whole = layer(data)
        first = len(compiled)
        assert torch.equal(layer(data[:2]), whole[:2])
        assert layer.health().samples == 2
        assert layer(data[:0]).shape == (0, 6, 3)
        assert torch.equal(layer(data[0]), whole[0])
        assert torch.equal(layer(data[:6].unflatten(0, (2, 3))), whole[:6].unflatten(0, (2, 3)))
    # A batch of none has a program of its own.
    assert len(compiled) <= first + 1, compiled[first:]


def lif(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer = snn.LIF(4, 5, **TRUNCATE, dtype=F64)
    state = snn.LIFState(values(18, 5)[:n], values(18, 5)[:n], torch.zeros(n, 5, dtype=F64))
    current = values(18, 5)[:n].requires_grad_()
    spikes = times(18, 4, 2)[:n]
    out, end = layer(spikes, state, current, return_state=True)
    return out, *end, *torch.autograd.grad(total(out[:17]), [layer.weight, current])


def recurrent(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer = snn.RecurrentLIF(4, 5, recurrent_delay=1e-2, **TRUNCATE, dtype=F64)
    waiting = (values(18, 5, 2)[:n] * 1e-2).sort().values
    zero = torch.zeros(n, 5, dtype=F64)
    state = snn.RecurrentLIFState(values(18, 5)[:n], zero, zero, waiting)
    with torch.no_grad():
        out, end = layer(times(18, 4, 2)[:n], state, return_state=True)
    assert layer.health().samples == n
    return out, *end[:3]


def events(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer = snn.LI(4, 5, readout="value", t_max=0.05, dtype=F64)
    index = torch.randint(4, (18, 6), generator=torch.Generator().manual_seed(0))[:n]
    stream = snn.Events(times(18, 6)[:n], index)
    looks = values(18, 7)[:n] * 1e-2
    return layer(stream), layer.trace(stream, looks), layer.trace(stream, values(7))


def convolution(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer = snn.LIFConv1d(1, 2, 2, **TRUNCATE, dtype=F64)
    images = times(18, 1, 4, 1)[:n].requires_grad_()
    out = layer(images)
    assert torch.equal(layer.health().counts.silent, out[..., 0].isinf().sum(dim=(0, 2)).int())
    return out, *(x[:17] for x in torch.autograd.grad(total(out[:17]), [images])), layer.weight


def projections(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    kinds = {"a": snn.Projection(3, tau_syn=5e-3), "b": snn.Projection(2, tau_syn=9e-3)}
    layer = snn.Projections(kinds, 4, **TRUNCATE, dtype=F64)
    with torch.no_grad():
        out, end = layer({"a": times(18, 3, 1)[:n], "b": times(18, 2, 2)[:n]}, return_state=True)
    return out, end.v, end.i["a"], end.i["b"]


def fused(n: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    row = snn.fuse(
        nn.Sequential(
            snn.LIF(4, 5, refractory=math.inf, dtype=F64), snn.LIF(5, 3, **TRUNCATE, dtype=F64)
        )
    )
    out = row(times(18, 4, 1)[:n])
    assert [layer.samples for layer in snn.health_report(row).layers] == [n, n]
    assert torch.equal(row[1].health().counts.silent, out[..., 0].isinf().sum(dim=0).int())
    return out, *torch.autograd.grad(total(out[:17]), list(row.parameters()))


def observed(n: int) -> tuple[Any, ...]:
    weight = torch.full((3, 4), 1.0, dtype=F64)
    seen = torch.full((18, 3, 2), math.inf, dtype=F64)[:n]
    options: dict[str, Any] = {"v_leak": 1.2, "t_max": 1.0, "count_missing": True}
    _, health = snn.functional.lif_observed(
        times(18, 4, 1)[:n], weight, seen, **options, return_health=True
    )
    # Neurons that spike without input do so in silent samples, too.
    assert health.missing.tolist() == [2 * n] * 3
    assert health.silent.tolist() == [n] * 3
    return ()


@pytest.mark.parametrize(
    "run",
    usual(
        [lif, recurrent, fused], [lif, recurrent, events, convolution, projections, fused, observed]
    ),
)
def test_a_filled_up_batch_gives_what_a_larger_one_does(run, compiled):
    whole = run(18)
    first = len(compiled)
    part = run(17)
    assert len(compiled) == first, compiled[first:]
    for a, b in zip(part, whole, strict=True):
        assert torch.equal(a, b[:17] if len(b) == 18 else b)


def test_silent_samples_that_spike_are_not_counted():
    layer = snn.LIF(2, 3, v_leak=5.0, tau_syn=3e-3, **TRUNCATE, dtype=F64)
    wide = snn.LIFConv1d(1, 3, 2, v_leak=5.0, tau_syn=3e-3, **TRUNCATE, dtype=F64)
    layer(times(17, 2, 1))
    wide(times(17, 1, 4, 1))
    for counts, each in ((layer.health().counts, 17), (wide.health().counts, 3 * 17)):
        assert counts.overflow.tolist() == [each] * 3
        assert counts.silent.tolist() == [0] * 3


def test_what_has_time_in_front_of_samples_is_not_cut():
    clock = Clock(dt=1e-3, steps=20)
    constants = {"tau_mem": 2e-2, "tau_syn": 1e-2, "v_leak": 0.0}
    weight, spikes = values(3, 4), times(17, 4, 1)
    on_grid = integrator_trace(spikes, weight, constants, clock)
    looked_up = snn.functional.li_value(spikes, weight, looks(clock, spikes), **constants)
    torch.testing.assert_close(on_grid, looked_up.movedim(-1, 0), rtol=1e-10, atol=1e-10)


def test_torch_compile_sees_batches_as_they_are():
    layer = snn.LIF(4, 6, tau_mem=1e-2, refractory=math.inf, dtype=F64)
    spikes = times(17, 4, 1)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(spikes), layer(spikes), rtol=1e-12, atol=0)
