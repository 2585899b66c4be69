"""Whole models of torch in JAX, without callbacks: outputs, gradients, gradients of each sample."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evtorch import bridge
from evtorch import torch_api as snn


class Function(nn.Module):
    """A module made of others and a function of them."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args):
        return self.function(self, *args)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU())
        self.inner = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ELU())
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        high = self.down(x)
        low = self.inner(F.max_pool2d(high, 2))
        return self.out(torch.cat([self.up(low), high], 1))


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return F.relu(x + self.inner(x))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        split = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*split, is_causal=True)
        return self.out(found.transpose(1, 2).flatten(2))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.norm, self.attention = nn.LayerNorm(8), Attention()
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[-1]))
        return self.head(x + self.attention(self.norm(x)))


class Cell(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0] if isinstance(state, tuple) else state


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, *gradients):
        (x,) = ctx.saved_tensors
        return gradients[0] / (1 + 5 * x.abs()) ** 2


class SurrogateNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 6)

    def forward(self, x):
        voltage = x.new_zeros(x.shape[0], 6)
        spikes = []
        for step in x.unbind(1):
            voltage = 0.9 * voltage + self.linear(step)
            spikes.append(Surrogate.apply(voltage - 1))
            voltage = voltage - spikes[-1].detach()
        return torch.stack(spikes, 1).mean(1)


class VectorQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.codes = nn.Parameter(torch.randn(7, 4))

    def forward(self, x):
        with torch.no_grad():
            nearest = torch.cdist(x, self.codes).argmin(-1)
        found = self.codes[nearest]
        return x + (found - x).detach(), F.mse_loss(found, x.detach())


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        y = (x * self.scale).clone()
        y[:, 0] = 0
        y[:, 1:3] += x[:, 2:4]
        y[y < 0] = 0.1
        return y.mul_(2).cumsum(1)


def volume():
    return nn.Sequential(nn.Conv3d(1, 2, 2), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(2, 3))


def once(kind, *args, **options):
    return kind(*args, refractory=math.inf, **options)


def image(size=8, channels=1):
    return lambda: torch.randn(3, channels, size, size)


def sequence():
    return torch.randn(3, 4, 8)


def times(*shape):
    return lambda: torch.rand(3, *shape, 1) * 1e-2


TRANSFORMER = {"d_model": 8, "nhead": 2, "dim_feedforward": 8, "dropout": 0.0, "batch_first": True}
MODELS = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 8), nn.Tanh()),
        lambda: torch.randn(3, 5),
    ),
    "norms": (
        lambda: nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 6), nn.RMSNorm(6), nn.Softplus()),
        lambda: torch.randn(3, 5),
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.LeakyReLU()),
        lambda: torch.randn(3, 5),
    ),
    "lenet": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)
        ),
        image(),
    ),
    "resnet": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), Residual(3)), image(5)),
    "unet": (UNet, image(4)),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2, dilation=2), nn.Hardswish()),
        image(6, 2),
    ),
    "upsampling": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelUnshuffle(2)
        ),
        image(4),
    ),
    "adaptive pooling": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(2)),
        image(7),
    ),
    "volume": (volume, lambda: torch.randn(3, 1, 4, 4, 4)),
    "signal": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, stride=2, padding=1), nn.InstanceNorm1d(3)),
        lambda: torch.randn(3, 2, 9),
    ),
    "transposed signal": (
        lambda: nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1, groups=2),
        lambda: torch.randn(3, 2, 5),
    ),
    "autoencoder": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2, stride=2), nn.SELU(), nn.ConvTranspose2d(2, 1, 2, stride=2)
        ),
        image(4),
    ),
    "transformer encoder": (lambda: nn.TransformerEncoderLayer(**TRANSFORMER), sequence),
    "pre-norm transformer": (
        lambda: nn.TransformerEncoderLayer(**TRANSFORMER, norm_first=True, activation="gelu"),
        sequence,
    ),
    "transformer decoder": (
        lambda: Function(
            lambda m, x: m.layer(x, x), layer=nn.TransformerDecoderLayer(**TRANSFORMER)
        ),
        sequence,
    ),
    "attention": (
        lambda: Function(
            lambda m, x: m.layer(x, x, x, need_weights=True)[0],
            layer=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        sequence,
    ),
    "gpt": (GPT, lambda: torch.randint(0, 11, (3, 6))),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Flatten(), nn.Linear(8, 2)),
        lambda: torch.tensor([[1, 2], [6, 0], [2, 2]]),
    ),
    "lstm": (lambda: nn.LSTM(8, 3, num_layers=2, batch_first=True), sequence),
    "gru": (lambda: nn.GRU(8, 3, bidirectional=True, batch_first=True), sequence),
    "rnn": (lambda: nn.RNN(8, 3, nonlinearity="relu", batch_first=True), sequence),
    "projected lstm": (lambda: nn.LSTM(8, 4, proj_size=2, batch_first=True), sequence),
    "lstm cell": (lambda: Cell(nn.LSTMCell(8, 3)), sequence),
    "surrogate gradients": (SurrogateNetwork, lambda: torch.randn(3, 4, 5)),
    "vector quantizer": (VectorQuantizer, lambda: torch.randn(3, 4)),
    "in place": (InPlace, lambda: torch.randn(3, 5)),
    "bilinear": (
        lambda: Function(lambda m, x: m.layer(x, x.flip(-1)), layer=nn.Bilinear(5, 5, 2)),
        lambda: torch.randn(3, 5),
    ),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)),
        lambda: torch.randn(3, 5),
    ),
    "solver": (
        lambda: Function(
            lambda m, x: (
                torch.linalg.solve(
                    m.layer.weight @ m.layer.weight.T + torch.eye(5, dtype=x.dtype), m.layer(x).T
                ).T
            ),
            layer=nn.Linear(5, 5),
        ),
        lambda: torch.randn(3, 5),
    ),
    "spiking hybrid": (
        lambda: nn.Sequential(
            nn.Linear(5, 5),
            nn.Sigmoid(),
            snn.LatencyEncoder(0.0, 1e-2),
            once(snn.LIF, 5, 4),
        ),
        lambda: torch.randn(3, 5),
    ),
    "spiking convolution": (
        lambda: nn.Sequential(once(snn.LIFConv2d, 1, 2, 2), snn.FlattenSpikes()),
        times(1, 3, 3),
    ),
    "delays": (
        lambda: nn.Sequential(snn.Delay(5, 1e-3), once(snn.LIF, 5, 4)),
        times(5),
    ),
}


def _finite(tree) -> Any:
    """A number that depends on all finite values."""
    arrays = jax.tree.leaves(tree)
    if isinstance(arrays[0], torch.Tensor):
        return sum(torch.where(a.isfinite(), a, 0).square().sum() for a in arrays)
    return sum(jnp.sum(jnp.where(jnp.isfinite(a), a, 0.0) ** 2) for a in arrays)


def _close(found, expected, tolerance):
    scale = max(1, np.abs(np.where(np.isfinite(expected), expected, 0)).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


# Nothing here runs long enough to be worth optimising.
QUICKLY: Any = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# In these the gradient is summed over samples, by vmap.
OF_EACH = ("mlp", "unet", "gru", "spiking hybrid")
SINGLE = ("mlp", "resnet", "transformer encoder", "lstm", "gpt")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float64) for name in MODELS), *((name, torch.float32) for name in SINGLE)],
)
def test_as_in_torch(name, dtype):
    make, inputs = MODELS[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections")
        module = make().to(dtype)
        x = inputs()
        x = x.to(dtype) if x.is_floating_point() else x
        tolerance = 1e-5 if dtype == torch.float32 else 1e-10
        with jax.enable_x64(dtype == torch.float64):
            fn, params = bridge.as_jax_function(module, lowering="native")
            array = jnp.asarray(x.numpy())

            def loss(params):
                outputs = fn(params, array)
                return _finite(outputs), outputs

            def of_each(params):
                each = jax.vmap(jax.grad(lambda p, x: _finite(fn(p, x[None]))), (None, 0))
                total = jax.tree.map(lambda g: g.sum(0), each(params, array))
                return total, fn(params, array)

            gradient = of_each if name in OF_EACH else jax.grad(loss, has_aux=True)
            gradients, outputs = jax.jit(gradient, compiler_options=QUICKLY)(params)
        expected = module(x)
    assert fn.lowering == "native"
    for found, wanted in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        _close(np.asarray(found), wanted.detach().numpy(), tolerance)
    _finite(expected).backward()
    for key, parameter in module.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        _close(np.asarray(gradients[key]), wanted.numpy(), 10 * tolerance)
