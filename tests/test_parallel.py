"""What docs/parallel.md shows, with two processes and with four devices, gives one's gradients."""

import os
import subprocess
import sys
from pathlib import Path

from .test_docs import blocks_of

# XLA's older code generator compiles sooner.
FLAGS = "--xla_cpu_use_fusion_emitters=false"

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
