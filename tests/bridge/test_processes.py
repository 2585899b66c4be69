"""Forks, exits and nesting: errors or clean ends, never a hang. Each case in its own process."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, sys, warnings
warnings.filterwarnings("ignore")
import jax, jax.numpy as jnp, torch
from evtorch import bridge
f = bridge.as_torch_function(lambda x: jnp.sin(x) * 2)
"""


def run(code, timeout=120):
    program = PRELUDE + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout
    )


def test_forked_data_loader_workers_get_an_error():
    done = run(
        """
        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, i):
                return f(torch.ones(2) * i)
        f(torch.ones(2))
        loader = torch.utils.data.DataLoader(
            Data(), num_workers=1, multiprocessing_context="fork", timeout=60
        )
        list(loader)
        """
    )
    assert done.returncode != 0
    assert "BridgeError" in done.stderr
    assert "multiprocessing_context='spawn'" in done.stderr


def test_a_fork_before_jax_runs_is_fine():
    done = run(
        """
        pid = os.fork()
        ok = torch.allclose(f(torch.ones(2)), torch.sin(torch.ones(2)) * 2)
        if pid == 0:
            os._exit(0 if ok else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or not ok)
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_fork_after_jax_ran_outside_the_bridge_is_noticed():
    done = run(
        """
        jnp.ones(3).block_until_ready()
        pid = os.fork()
        if pid == 0:
            try:
                f(torch.ones(2))
            except bridge.BridgeError:
                os._exit(7)
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert done.returncode == 7, done.stderr


def test_every_way_into_jax_is_guarded_after_a_fork():
    """Each case would hang; the alarm ends it then."""
    done = run(
        """
        import optax, signal
        x = torch.ones(3, requires_grad=True)
        loss = f(x).sum()
        fn, params = bridge.as_jax_function(torch.nn.Linear(3, 3))
        ones = jnp.ones(3)
        model = torch.nn.Linear(3, 2)
        mse, sgd = torch.nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.1)
        step = bridge.compile_step(model, mse, sgd)
        step(torch.ones(4, 3), torch.ones(4, 2))
        cases = [
            lambda: step(torch.ones(4, 3), torch.ones(4, 2)),
            lambda: bridge.compile_step(model, mse, sgd),
            lambda: bridge.OptaxOptimizer([x], optax.adam(0.1)),
            lambda: fn(params, ones),
            lambda: bridge.as_jax_function(torch.nn.Linear(3, 3)),
            loss.backward,
        ]
        for case in cases:
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                try:
                    case()
                except bridge.BridgeError:
                    os._exit(7)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code == 7, (cases.index(case), code)
        """
    )
    assert done.returncode == 0, done.stderr


def test_jax_may_start_in_the_child():
    done = run(
        """
        pid = os.fork()
        if pid == 0:
            jnp.ones(3).block_until_ready()
            fn, params = bridge.as_jax_function(torch.nn.Linear(2, 2))
            ok = f(torch.ones(2)).shape == fn(params, jnp.ones(2)).shape
            os._exit(0 if ok else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "x = torch.randn(400, 400)\nfor _ in range(20): y = f(x @ x)",
        "x = torch.randn(400, 400, requires_grad=True)\n"
        "for _ in range(9): f(x @ x).sum().backward()",
        "fn, p = bridge.as_jax_function(torch.nn.Linear(300, 300))\n"
        "y = jax.jit(fn)(p, jnp.ones((300, 300)))",
    ],
    ids=["forward", "backward", "callback"],
)
def test_exit_with_pending_work_is_clean(code):
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_nested_bridges_raise_instead_of_deadlocking():
    done = run(
        """
        traced = []
        def sometimes(x):
            traced.append(1)
            return x * 1 if len(traced) == 1 else f(x)
        fn, p = bridge.as_jax_function(sometimes, lowering="callback")
        try:
            jax.jit(fn)(p, jnp.ones((300, 300))).block_until_ready()
        except Exception as error:
            sys.exit(3 if "called by torch code that a JAX computation" in str(error) else 4)
        """
    )
    assert done.returncode == 3, done.stderr


def test_an_output_spread_over_devices_is_gathered():
    done = run(
        """
        jax.config.update("jax_num_cpu_devices", 2)
        mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
        halves = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
        g = bridge.as_torch_function(lambda x: jax.lax.with_sharding_constraint(x * 2, halves))
        x = torch.arange(4, dtype=torch.float64, requires_grad=True)
        y = g(x)
        y.sum().backward()
        assert torch.equal(y, 2 * x) and torch.equal(x.grad, torch.full_like(x, 2)), (y, x.grad)
        """
    )
    assert done.returncode == 0, done.stderr


def test_recorded_code_is_not_taken_for_another_process_code():
    """Inductor's cache on disk goes by that text."""
    record = """
        from torch.fx.experimental.proxy_tensor import make_fx
        print(make_fx(f)(torch.ones(2)).code)
    """
    first, second = run(record), run(record)
    assert "evtorch.call" in first.stdout, first.stderr
    assert first.stdout != second.stdout
