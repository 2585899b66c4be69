"""`to_jax` and `to_torch`: values, dtypes, memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from evtorch import bridge

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]


class Pair(NamedTuple):
    first: Any
    second: Any


def sample(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    if dtype.is_complex:
        return torch.randn(shape, dtype=dtype)
    return torch.randint(0, 2 if dtype is torch.bool else 50, shape).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=str)
def test_round_trip_keeps_dtype_shape_and_values(dtype, shape):
    x = sample(dtype, *shape)
    array = bridge.to_jax(x)
    assert isinstance(array, jax.Array)
    assert str(array.dtype) == str(dtype).removeprefix("torch.")
    back = bridge.to_torch(array)
    assert back.dtype == dtype
    assert back.shape == x.shape
    assert torch.equal(back.to(torch.complex128), x.to(torch.complex128))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.T,
        lambda x: x[:, 1:],
        lambda x: x[1:],
        lambda x: x[:1].expand(5, 4),
        lambda x: x.flip(0),
        lambda x: torch.from_numpy(x.numpy()[::-1].copy()),
        lambda x: torch.view_as_complex(x.reshape(2, 4, 2)).conj(),
        lambda x: torch.view_as_complex(x.reshape(2, 4, 2)).conj().imag,
        lambda x: x.clone().requires_grad_(),
        lambda x: torch.nn.Parameter(x),
    ],
    ids=[
        "transposed",
        "sliced",
        "unaligned",
        "expanded",
        "flipped",
        "numpy",
        "conj",
        "neg",
        "grad",
        "parameter",
    ],
)
def test_any_layout_arrives_with_its_values(make):
    x = make(torch.randn(4, 4))
    expected = x.detach().resolve_conj().resolve_neg().contiguous().numpy()
    np.testing.assert_array_equal(bridge.to_jax(x), expected)


def test_int64_and_float64_keep_their_bits_while_x64_is_off():
    assert int(bridge.to_jax(torch.tensor(2**33 + 1))) == 2**33 + 1
    assert float(bridge.to_jax(torch.tensor(1 / 3, dtype=torch.float64))) == 1 / 3


def test_memory_is_shared_or_copied_as_asked():
    x = torch.zeros(16)
    shared, snapshot = bridge.to_jax(x), bridge.to_jax(x, copy=True)
    x.fill_(1)
    assert float(shared[3]) == 1
    assert float(snapshot[3]) == 0
    array = jnp.zeros(16)
    view, clone = bridge.to_torch(array), bridge.to_torch(array, copy=True)
    assert view.data_ptr() == array.unsafe_buffer_pointer()
    assert clone.data_ptr() != array.unsafe_buffer_pointer()


def test_copy_false_refuses_what_cannot_be_shared():
    bridge.to_jax(torch.zeros(4, 4), copy=False)
    with pytest.raises(ValueError, match=r"`x\['a'\]` cannot be shared.*drop copy=False"):
        bridge.to_jax({"a": torch.zeros(4, 4).T}, copy=False)


def test_pytrees_keep_structure_and_other_leaves():
    tree = Pair({"a": torch.ones(2), "b": None}, [3, "s", (torch.zeros(()),)])
    arrays = bridge.to_jax(tree)
    assert isinstance(arrays, Pair)
    assert isinstance(arrays.first["a"], jax.Array)
    assert arrays.first["b"] is None
    assert arrays.second[:2] == [3, "s"]
    back = bridge.to_torch(arrays)
    assert torch.equal(back.first["a"], torch.ones(2))
    assert isinstance(bridge.to_torch(np.ones(2)), torch.Tensor)


@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")
def test_unsupported_tensors_are_named():
    with pytest.raises(TypeError, match=r"`x\[0\]` has layout torch.sparse_coo.*to_dense"):
        bridge.to_jax([torch.eye(2).to_sparse()])
    with pytest.raises(TypeError, match="complex32"):
        bridge.to_jax(torch.zeros(2, dtype=torch.complex32))
    with pytest.raises(ValueError, match="device 'meta'"):
        bridge.to_jax(torch.zeros(2, device="meta"))


def test_unsupported_arrays_are_named():
    with pytest.raises(TypeError, match=r"dtype key<fry>.*key_data"):
        bridge.to_torch(jax.random.key(0))
    with pytest.raises(TypeError, match="traced by a JAX transformation"):
        jax.jit(lambda x: bridge.to_torch(x))(jnp.ones(2))


def test_numpy_arrays_are_copied_whatever_their_dtype():
    given = np.asarray(jnp.arange(3, dtype=jnp.bfloat16))
    found = bridge.to_torch(given)
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [0, 1, 2]
    doubled = bridge.as_torch_function(lambda x: 2 * x)(given)
    assert doubled.tolist() == [0, 2, 4]
    with pytest.raises(TypeError, match="has no counterpart in torch"):
        bridge.to_torch(np.array(["a"]))


def test_nested_tensors_are_refused():
    parts = [torch.ones(2), torch.ones(3)]
    with pytest.raises(TypeError, match=r"has layout torch\.jagged"):
        bridge.to_jax(torch.nested.nested_tensor(parts, layout=torch.jagged))
    with (
        pytest.warns(UserWarning, match="nested tensors"),
        pytest.raises(TypeError, match="is a nested tensor"),
    ):
        bridge.to_jax(torch.nested.nested_tensor(parts, layout=torch.strided))
