"""Module-level functions, because what child processes run must be importable."""

from typing import Any

import jax.numpy as jnp
import torch
from torch import distributed

from evtorch import bridge


def mlp(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["first"]["w"] + params["first"]["b"]) @ params["second"]


def mlp_parameters() -> Any:
    generator = torch.Generator().manual_seed(1)
    return {
        "first": {"w": torch.randn(3, 8, generator=generator), "b": torch.zeros(8)},
        "second": torch.randn(8, 2, generator=generator),
    }


@bridge.as_torch_function
def decorated(x: Any) -> Any:
    return jnp.sin(x)


def distributed_step(rank: int, path: str, data: torch.Tensor, result: Any) -> None:
    """One DDP step on half of the data; the first process reports the gradients."""
    distributed.init_process_group("gloo", f"file://{path}", rank=rank, world_size=2)
    module = torch.nn.parallel.DistributedDataParallel(bridge.JaxModule(mlp, mlp_parameters()))
    for _ in range(2):
        module.zero_grad()
        module(data[rank::2]).square().mean().backward()
    if rank == 0:
        gradients = [p.grad for p in module.parameters()]
        result.put([g.tolist() for g in gradients if g is not None])
    distributed.destroy_process_group()
