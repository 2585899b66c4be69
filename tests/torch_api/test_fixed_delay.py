"""Delays that are given: constants of a layer, not learned."""

import math
from typing import Any

import pytest
import torch

from evtorch import torch_api as snn

INF = math.inf
TIMES = torch.tensor([[[0.0, 2e-3], [1e-3, INF], [5e-4, 3e-3]]], dtype=torch.float64)
CONSTANTS: dict[str, Any] = {"max_spikes": 16, "dtype": torch.float64, "t_max": 0.1}


def weighted(layer: Any) -> Any:
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(1, 2, layer.weight.numel()).reshape(layer.weight.shape))
    return layer


@pytest.mark.parametrize("kind", [snn.LIF, snn.RecurrentLIF])
@pytest.mark.parametrize("delay", [1e-3, 0, torch.tensor(2e-3), torch.tensor([0.0, 1e-3, 2e-3])])
def test_fixed_delays_shift_the_input(kind: Any, delay: Any) -> None:
    torch.manual_seed(0)
    plain = weighted(kind(3, 2, **CONSTANTS))
    torch.manual_seed(0)
    layer = weighted(kind(3, 2, delay=delay, **CONSTANTS))
    each = torch.as_tensor(delay, dtype=torch.float64).expand(3)
    shifted = TIMES + each[:, None]
    assert torch.equal(layer(TIMES), plain(shifted))
    looks = torch.linspace(0, 2e-2, 5, dtype=torch.float64)
    assert torch.equal(layer.trace(TIMES, looks), plain.trace(shifted, looks))
    assert "delay" not in dict(layer.named_parameters())
    assert torch.equal(layer.state_dict()["delay"], each)


def test_one_delay_of_all_inputs_shifts_all_spikes() -> None:
    plain, layer = (weighted(snn.LIF(3, 2, delay=d, **CONSTANTS)) for d in (None, 3e-3))
    torch.testing.assert_close(layer(TIMES), plain(TIMES) + 3e-3, rtol=0, atol=1e-12)


def test_a_fixed_recurrent_delay_is_that_of_the_function() -> None:
    layer = weighted(snn.RecurrentLIF(3, 2, recurrent_delay=2e-3, **CONSTANTS))
    expected = snn.functional.recurrent_lif(
        TIMES, layer.weight, layer.recurrent_weight, recurrent_delay=2e-3, max_spikes=16, t_max=0.1
    )
    assert torch.equal(layer(TIMES), expected)
    assert {name for name, _ in layer.named_parameters()} == {"weight", "recurrent_weight"}


def test_fixed_delays_go_with_checkpoints_devices_and_types() -> None:
    layer = snn.LIF(3, 2, delay=torch.tensor([1e-3, 2e-3, 3e-3]))
    other = snn.LIF(3, 2, delay=0.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.delay, layer.delay)
    learned = snn.LIF(3, 2, delay="axonal")
    learned.load_state_dict(layer.state_dict())
    assert torch.equal(learned.delay, layer.delay)
    assert layer.double().delay.dtype == torch.float64
    assert layer.to("meta").delay.is_meta
    with torch.device("meta"):
        empty = snn.LIF(3, 2, delay=1e-3)
    assert empty.delay.is_meta
    assert not empty.get_extra_state().is_meta
    assert "delay=0.002" in repr(snn.LIF(3, 2, delay=2e-3))
    assert "delay=fixed" in repr(other)


@pytest.mark.parametrize("kind", [snn.LIF, snn.RecurrentLIF])
@pytest.mark.parametrize(
    ("delay", "message"),
    [
        (-1e-3, r"delay must be finite and >= 0 \(seconds\), got -0.001"),
        (INF, r"delay must be finite and >= 0"),
        (math.nan, r"delay must be finite and >= 0"),
        (torch.ones(2), r"delay must be a number or have shape \(3,\), got \(2,\)"),
        ("long", r"delay must be None, 'axonal' .*or a fixed one in seconds, a number or a tensor"),
        (True, r"delay must be None, 'axonal'"),
        ([1e-3] * 3, r"delay must be None, 'axonal'"),
    ],
)
def test_bad_delays_are_named(kind: Any, delay: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(3, 2, delay=delay)


def test_the_function_takes_one_delay_for_all() -> None:
    events = snn.events_from_spike_times(TIMES)
    for delay in (1e-3, torch.tensor(1e-3, dtype=torch.float64)):
        assert torch.equal(snn.functional.delay(TIMES, delay), TIMES + 1e-3)
        shifted = snn.functional.delay(events, delay)
        assert torch.equal(shifted.time, events.time + 1e-3)
        assert torch.equal(shifted.index, events.index)
    with pytest.raises(ValueError, match="delay must be finite and >= 0, but one is -1"):
        snn.functional.delay(TIMES, -1)
    with pytest.raises(TypeError, match=r"delay must be a number or a tensor .*got str"):
        snn.functional.delay(TIMES, "axonal")  # pyright: ignore[reportArgumentType]


def test_fixed_delays_are_written_to_nir_and_come_back() -> None:
    layer = snn.LIF(3, 2, delay=torch.tensor([1e-3, 2e-3, 3e-3]))
    delay, _ = snn.nir.from_nir(snn.nir.to_nir(torch.nn.Sequential(layer)))
    torch.testing.assert_close(delay.delay.detach(), layer.delay)
