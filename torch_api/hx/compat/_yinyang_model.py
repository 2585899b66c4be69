"""The network that hxtorch's Yin-Yang example trains, under its names."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...backend._straight_through import straight_through
from .._experiment import Experiment
from .._handle import LIFObservables
from .._parameter import HXTransformedModelParameter, MixedHXModelParameter
from .._run import run
from ..modules._synapse import Synapse
from ..modules.neuron._li import LI
from ..modules.neuron._lif import LIF
from ..transforms.weight_transforms import linear_saturating

Normal = tuple[float, float]
"""Mean and standard deviation."""


class SNN(nn.Module):
    """A layer of spiking neurons with leaky integrators behind it.

    **Arguments:** as hxtorch's example has them; ``input_repetitions``: how many times each input
    is there, as one synapse of the chip is weak; ``weight_scale``: hardware weight per model
    weight. Those that only concern how the chip is recorded have no effect here.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        mock: bool,
        dt: float = 1e-6,
        tau_mem: float = 8e-6,
        tau_syn: float = 8e-6,
        alpha: float = 50,
        trace_shift_hidden: int = 0,
        trace_shift_out: int = 0,
        weight_init_hidden: Normal | None = None,
        weight_init_output: Normal | None = None,
        weight_scale: float = 1.0,
        trace_scale: float = 1.0,
        input_repetitions: int = 1,
        synapse_type: Any = Synapse,
        neuron_type: Any = LIF,
        hidden_cadc_recording: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.exp = Experiment(mock=mock, dt=dt)
        self.input_repetitions = input_repetitions
        self.device = device
        both: dict[str, Any] = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "leak": MixedHXModelParameter(0.0, 80),
            "trace_scale": trace_scale,
            "shift_cadc_to_first": True,
            "synapse_dac_bias": 1000,
        }

        def scaled() -> Any:
            # One each, as scripts change the scale of the second.
            return partial(linear_saturating, scale=weight_scale)

        self.linear_h = synapse_type(
            n_in * input_repetitions, n_hidden, self.exp, transform=scaled()
        )
        # In the order of hxtorch's example, so that a seed gives the same weights.
        if weight_init_hidden is not None:
            once = torch.empty(n_hidden, n_in).normal_(*weight_init_hidden)
            self.linear_h.weight.data = once.repeat(1, input_repetitions)
        self.lif_h = neuron_type(
            n_hidden,
            self.exp,
            reset=MixedHXModelParameter(0.0, 80),
            threshold=MixedHXModelParameter(1.0, 150),
            membrane_capacitance=HXTransformedModelParameter(
                tau_mem, lambda model_value: model_value / tau_mem * 63
            ),
            alpha=alpha,
            cadc_time_shift=trace_shift_hidden,
            enable_cadc_recording=hidden_cadc_recording,
            **both,
        )
        self.linear_o = Synapse(n_hidden, n_out, self.exp, transform=scaled())
        self.li_readout = LI(n_out, self.exp, cadc_time_shift=trace_shift_out, **both)
        if weight_init_output is not None:
            nn.init.normal_(self.linear_o.weight, *weight_init_output)
        self.s_h: Any = None
        """The handle of the hidden layer of the last forward."""
        self.to(device)

    def forward(self, spikes: Tensor) -> Tensor:
        """Voltages of the integrators, both ``(time, batch, neurons)``."""
        spikes = spikes.repeat(1, 1, self.input_repetitions)
        self.s_h = self.lif_h(self.linear_h(LIFObservables(spikes=spikes)))
        out = self.li_readout(self.linear_o(self.s_h))
        run(self.exp, len(spikes))
        return out.membrane_cadc


class Model(nn.Module):
    """Encoder, network and decoder; its scores are multiplied with ``readout_scale``."""

    def __init__(
        self, encoder: nn.Module, network: SNN, decoder: nn.Module, readout_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder, self.network, self.decoder = encoder, network, decoder
        self.readout_scale = readout_scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores ``(batch, classes)`` of values ``(batch, channels)``."""
        scores = self.decoder(self.network(self.encoder(inputs)))
        # The gradient is that of the unscaled scores, as in hxtorch.
        self.scores = straight_through(scores, scores.detach() * self.readout_scale)
        return self.scores

    def regularize(
        self, reg_readout: float, reg_bursts: float, reg_w_hidden: float, reg_w_output: float
    ) -> Tensor:
        """Mean squares of scores, of spike counts and of weights, each with its factor."""
        network = self.network
        terms = [
            (reg_readout, self.scores),
            (reg_bursts, network.s_h.spikes.sum(0)),
            (reg_w_hidden, network.linear_h.weight),
            (reg_w_output, network.linear_o.weight),
        ]
        return torch.stack([factor * value.square().mean() for factor, value in terms]).sum()
