"""What docs/parallel.md shows, with two processes and with four devices, gives one's gradients."""

import os
import subprocess
import sys
from pathlib import Path

from .test_docs import blocks_of

# What compiles soonest.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"

# Behind the training: the same step of this process alone, by shares, as their shape is compiled.
ALONE = """
import copy

rank, processes = distributed.get_rank(), distributed.get_world_size()
assert processes == 2
shares = [slice(part, None, processes) for part in range(processes)]
alone = copy.deepcopy(model)
optimizer.zero_grad()
loss_function(shared(data.values[shares[rank]]), data.classes[shares[rank]]).backward()
alone.zero_grad()
for share in shares:
    (loss_function(alone(data.values[share]), data.classes[share]) / processes).backward()
names = [name for name, _ in model.named_parameters()]
assert names == ["1.weight", "1.recurrent_weight", "2.weight"]
for one, other in zip(model.parameters(), alone.parameters(), strict=True):
    assert other.grad.count_nonzero() > 0
    torch.testing.assert_close(
        one.grad, other.grad, rtol=1e-5, atol=1e-6 * float(other.grad.abs().max())
    )
print("equal gradients")
"""


def run(command: list[str], flags: str = FLAGS) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    end = "distributed.destroy_process_group()"
    block = blocks_of("parallel.md")[0]
    assert end in block
    script.write_text(block.replace(end, ALONE + end))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert run([*launch, str(script)]).count("equal gradients") == 2


# Behind the training step: the same without devices, and what else is taken to several of them.
ONE_DEVICE = """
import numpy as np

assert jax.device_count() == 4

def close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


plain, gradients = jax.jit(jax.value_and_grad(loss))(weights, spikes)
expected = jax.tree.map(lambda w, g: w - 1e-2 * g, weights, gradients)
assert all(np.any(g != 0) for g in jax.tree.leaves(gradients))
close((value, updated), (plain, expected))


def layers(weights, spikes):
    options = {"max_spikes": 8, "t_max": 0.05, "return_health": True}
    first, counts = jax_core.lif(spikes, weights["in"], **options)
    second, more = jax_core.recurrent_lif(
        first, weights["hidden"], weights["recurrent"], recurrent_delay=1e-3, **options
    )
    return (first, second), (counts, more)


def of_share(weights, spikes):
    found, counts = layers(weights, spikes)
    return found, jax.tree.map(lambda x: jax.lax.psum(x, "batch"), counts)


options = {"mesh": mesh, "in_specs": (whole, samples), "check_vma": False}
sharded = jax.jit(jax.shard_map(of_share, out_specs=(samples, whole), **options))
close(sharded(weights, spikes), jax.jit(layers)(weights, spikes))

# The gradient of what shard_map returned.
def mean(weight, spikes):
    return jnp.mean(jax_core.li(spikes, weight, readout="integral", t_max=0.05))


mapped = jax.shard_map(
    lambda w, s: jax.lax.pmean(mean(w, s), "batch"), out_specs=whole, **options
)
close(jax.grad(mapped)(weights["in"], spikes), jax.grad(mean)(weights["in"], spikes))

# With the check, an error that says what to do.
checked = jax.shard_map(
    lambda s: jax_core.lif(s, weights["in"]), mesh=mesh, in_specs=samples, out_specs=samples
)
try:
    checked(spikes)
except TypeError as error:
    assert any("check_vma=False" in note for note in error.__notes__)
else:
    raise AssertionError("JAX has become more lenient: say so in docs/parallel.md")
print("equal")
"""


def test_four_devices_give_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(blocks_of("parallel.md")[1] + ONE_DEVICE)
    flags = f"{FLAGS} --xla_force_host_platform_device_count=4"
    assert run([sys.executable, str(script)], flags) == "equal\n"
