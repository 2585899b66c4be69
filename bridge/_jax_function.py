"""`as_jax_function`: a torch module as a pure JAX function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.experimental import io_callback

from ._arrays import check_module
from ._config import ambient_x64, autocast_dtype
from ._dtypes import TORCH_DTYPE, WIDE_FLOAT, WIDTH
from ._guards import BridgeError, check_call
from ._host import HostFunction, jax_type
from ._jax_internals import inside_checkpoint
from ._pytree import leaf_name, to_jax
from ._shapes import Outputs, infer_outputs
from ._static import Static, remember
from ._torch_call import TorchCall
from ._watch import Constants, Watch, capturing
from .lower._reasons import NotLowered

_ROOTS = ("params", "buffers", "args", "kwargs")


Lowering = Literal["auto", "native", "callback"]


class _Built(NamedTuple):
    function: Any
    """A `HostFunction`, or a `NativeFunction` with the same interface."""
    out_tree: Any
    fixed: frozenset[str]
    """Buffers with respect to which torch does not differentiate."""
    reason: str
    """Why it is not native; empty if it is."""
    constants: Constants
    """What a native function holds of the module."""


class JaxFunction:
    """What `as_jax_function` returns first: ``(params, *args, rng=None, buffers=None, **kwargs)``.

    ``buffers`` are the module's buffers at the time of conversion, ``{name: jax.Array}``.
    """

    def __init__(self, module: Callable[..., Any], lowering: Lowering = "auto") -> None:
        check_call("as_jax_function")
        self.module = module
        self.lowering: str | None = None
        """How the last call ran: ``"native"`` or ``"callback"``; None before the first."""
        self.lowering_reason = ""
        """Why the last call was not native."""
        self._asked: Lowering = lowering
        self._watch: Watch | None = None
        named: dict[str, torch.Tensor] = {}
        state: dict[str, torch.Tensor] = {}
        if isinstance(module, torch.nn.Module):
            check_module(module)
            named, state = dict(module.named_parameters()), dict(module.named_buffers())
        self.params: dict[str, jax.Array] = to_jax(named, copy=True)
        self.buffers: dict[str, jax.Array] = to_jax(state, copy=True)
        self._aliases = _aliases(module) - set(named) - set(state)
        self._dtypes = {name: t.dtype for name, t in {**named, **state}.items()}
        self._device = next((t.device for t in [*named.values(), *state.values()]), None)
        self.__name__ = getattr(module, "__name__", type(module).__name__)
        self._built: dict[Any, _Built] = {}
        self._shadowed = _parameters(module) & {"rng", "buffers"}

    def __call__(
        self,
        params: dict[str, Any],
        *args: Any,
        rng: Any = None,
        buffers: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The module's output; with ``buffers`` given, ``(output, updated buffers)``."""
        check_call(self.__name__)
        for name, value in (("rng", rng), ("buffers", buffers)):
            if value is not None and name in self._shadowed:
                raise TypeError(
                    f"{self.__name__} has a parameter `{name}` of its own, which the one of its "
                    "JAX form hides; pass it by position, or rename it"
                )
        params, exported = self._sorted(params)
        state = (exported or self.buffers) if buffers is None else buffers
        _check_state("params", params, self.params)
        _check_state("buffers", state, self.buffers)
        leaves, tree = jax.tree_util.tree_flatten_with_path((params, state, args, kwargs))
        arrays: list[Any] = []
        dtypes: list[torch.dtype] = []
        kinds: list[Static | None] = []
        for path, leaf in leaves:
            if isinstance(leaf, (bool, int, float, complex, str)):
                kinds.append(Static(leaf, repr(leaf)))
            else:
                array, dtype = self._operand(path, leaf)
                arrays.append(array)
                dtypes.append(dtype)
                kinds.append(None)
        types = tuple((a.shape, a.dtype) for a in arrays)
        key = (
            *(tree, tuple(kinds), types, tuple(dtypes), self._module_variant(), ambient_x64()),
            autocast_dtype(self._device),
        )
        built = self._built.get(key)
        if built is None or not built.constants.are_same():
            built = self._build(tree, kinds, arrays, dtypes)
        remember(self._built, key, built)
        self.lowering_reason = built.reason
        self.lowering = "callback" if built.reason else "native"
        outputs = built.function(_seed(rng, built.function.random), arrays)
        result, updated = jax.tree_util.tree_unflatten(built.out_tree, outputs)
        if buffers is None:
            return result
        # So that the next call is not asked to.
        stopped = {name: jax.lax.stop_gradient(updated[name]) for name in built.fixed}
        return result, {**updated, **stopped}

    def _sorted(self, params: Any) -> tuple[Any, dict[str, Any]]:
        """The parameters and the buffers in ``params``: `export_parameters` gives both, and a tied
        parameter under each of its names."""
        if not isinstance(params, dict) or params.keys() == self.params.keys():
            return params, {}
        others = {*self.buffers, *self._aliases}
        found = {name: params[name] for name in self.buffers if name in params}
        return {name: p for name, p in params.items() if name not in others}, found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": {}, "_watch": None}

    def _module_variant(self) -> Any:
        """What makes it another program for the same inputs."""
        if not isinstance(self.module, torch.nn.Module):
            return None
        watch = self._watch
        if watch is None or not watch.is_same():
            with capturing:
                watch = self._look_at_module(self.module)
        return watch.variant(4), tuple(m.training for m in watch.scripted)

    def _look_at_module(self, module: torch.nn.Module) -> Watch:
        """Raise if it has other parameters than before, but for their values: they are given."""
        watch = Watch(module, False)
        tensors = {**watch.parameters, **watch.buffers}
        own = {**self.params, **self.buffers}
        if {n: tuple(t.shape) for n, t in tensors.items()} != {n: a.shape for n, a in own.items()}:
            raise ValueError(
                f"{self.__name__} has other parameters or buffers than when as_jax_function was "
                "called; call it anew"
            )
        self._dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
        self._device = next((tensor.device for tensor in tensors.values()), None)
        self._built = {}
        self._watch = watch
        return watch

    def _operand(self, path: Any, leaf: Any) -> tuple[Any, torch.dtype]:
        """The leaf as a JAX array, and the dtype in which torch gets it."""
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
            raise TypeError(
                f"{_name(path)} of {self.__name__} is a {type(leaf).__name__}; pass arrays, "
                "numbers, strings and None (for a tensor: evtorch.bridge.to_jax)"
            )
        if np.dtype(leaf.dtype) not in TORCH_DTYPE:
            raise TypeError(f"{_name(path)} has dtype {leaf.dtype}, which torch lacks")
        dtype = TORCH_DTYPE[np.dtype(leaf.dtype)]
        if WIDTH[dtype] == WIDE_FLOAT and not ambient_x64():
            raise TypeError(
                f"{_name(path)} is {leaf.dtype}, but JAX's x64 mode is off and would round it; "
                "call inside `with jax.enable_x64(True):`, or convert the module with .float()"
            )
        own = self._dtypes.get(path[1].key) if path[0].idx < 2 else None
        if own is not None and not own.is_floating_point and not own.is_complex:
            if dtype.is_floating_point or dtype.is_complex:
                raise TypeError(f"{_name(path)} has dtype {leaf.dtype}, the module's has {own}")
            dtype = own
        elif dtype is torch.int32 and not ambient_x64():
            dtype = torch.int64
        if not isinstance(leaf, jax.Array):
            # Not by jnp.asarray, which compiles a program for each shape and keeps all of them.
            leaf = jax.device_put(np.array(leaf))
        return leaf, dtype

    def _build(
        self,
        tree: Any,
        kinds: Sequence[Static | None],
        arrays: Sequence[Any],
        dtypes: Sequence[torch.dtype],
    ) -> _Built:
        call = TorchCall(self.module, tree, kinds, self._device)
        reason = "the callback was asked for"
        if self._asked != "callback":
            # Loading the operators takes a tenth of a second.
            from ._native import native_or_reason

            native, why = native_or_reason(
                call, arrays, dtypes, self._check_outputs, self.module, self.__name__
            )
            if native is not None:
                return _Built(native, native.tree, frozenset(), "", native.constants)
            reason = self._reason(why)
        inferred, fixed = self._inferred(call, [a.shape for a in arrays], dtypes, reason)
        outputs = [
            jax_type(shape, dtype)
            for shape, dtype in zip(inferred.shapes, inferred.dtypes, strict=True)
        ]
        inputs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        function = HostFunction(
            lambda tensors: call(tensors)[0], inputs, dtypes, outputs, inferred.random
        )
        return _Built(function, inferred.tree, fixed, reason, Constants((), None))

    def _reason(self, error: Exception | None) -> str:
        """Why there is no native function, which is an error if that was asked for."""
        if self._asked == "native" and isinstance(error, NotLowered):
            raise BridgeError(
                f"{self.__name__} cannot be lowered to JAX: {error}. Change that, or let "
                'as_jax_function(..., lowering="auto") fall back to a callback'
            ) from error
        if self._asked == "native" and error is not None:
            raise error
        return str(error)

    def _inferred(
        self, call: TorchCall, shapes: Any, dtypes: Sequence[torch.dtype], reason: str
    ) -> tuple[Outputs, frozenset[str]]:
        """What the module returns, and which buffers torch does not differentiate."""
        call.seen = {}
        try:
            inferred = infer_outputs(call, shapes, dtypes, self.__name__)
        except BridgeError as error:
            raise BridgeError(f"{error}. It did not become JAX itself: {reason}") from error
        self._check_outputs(inferred.paths, inferred.dtypes)
        running = {id(t) for t in inferred.statistics}
        fixed = frozenset(name for name, t in call.seen.items() if id(t) in running)
        call.seen = None
        return inferred, fixed

    def _check_outputs(self, paths: Sequence[Any], dtypes: Sequence[torch.dtype]) -> None:
        for path, dtype in zip(paths, dtypes, strict=True):
            if WIDTH[dtype] == WIDE_FLOAT and not ambient_x64():
                raise TypeError(
                    f"{self.__name__} returns {leaf_name('output', path)} as {dtype}, but JAX's "
                    "x64 mode is off; call inside `with jax.enable_x64(True):`, or return float32"
                )


def _parameters(module: Callable[..., Any]) -> set[str]:
    fn = module.forward if isinstance(module, torch.nn.Module) else module
    try:
        return set(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return set()


def _aliases(module: Any) -> set[str]:
    """All names of all parameters and buffers."""
    if not isinstance(module, torch.nn.Module):
        return set()
    return {
        name
        for found in (module.named_parameters, module.named_buffers)
        for name, _ in found(remove_duplicate=False)
    }


def _name(path: Any) -> str:
    return leaf_name(_ROOTS[path[0].idx], path[1:])


def _check_state(name: str, given: Any, expected: dict[str, jax.Array]) -> None:
    if not isinstance(given, dict) or set(given) != set(expected):
        found = sorted(given) if isinstance(given, dict) else type(given).__name__
        raise ValueError(
            f"`{name}` must be a dict with the names {sorted(expected)}, got {found}; start from "
            "what as_jax_function returned"
        )
    for key, own in expected.items():
        if np.shape(given[key]) != own.shape:
            raise ValueError(
                f"`{name}[{key!r}]` has shape {np.shape(given[key])}, the module's has {own.shape}"
            )


def draw_seed() -> np.ndarray:
    """From torch's global generator, for a JAX key."""
    return torch.randint(0, 2**32, (2,)).numpy().astype(np.uint32)


def _seed(rng: Any, random: bool) -> Any:
    if not random:
        return jnp.zeros(2, jnp.uint32)
    if rng is None:
        if inside_checkpoint():
            raise BridgeError(
                "the torch function draws random numbers inside jax.checkpoint, which runs it "
                "twice and needs the same ones again: pass a key, fn(..., rng=jax.random.key(0))"
            )
        return io_callback(draw_seed, jax.ShapeDtypeStruct((2,), jnp.uint32))
    return jax.random.bits(rng, (2,), jnp.uint32)


def as_jax_function(
    module: Callable[..., Any], *, lowering: Lowering = "auto"
) -> tuple[JaxFunction, dict[str, jax.Array]]:
    """A torch module as a pure function in JAX, with its parameters.

    **Arguments:**

    - ``module``: an ``nn.Module``, or any function of tensors (no parameters then).
    - ``lowering``: ``"native"`` makes a JAX program of it, operator by operator, with evtorch's
      layers and bridged functions as the JAX functions that they are; ``"callback"`` runs torch
      on the host, and with it any code: control flow on values, extensions. ``"auto"`` is native
      where that is possible; ``fn.lowering`` and ``fn.lowering_reason`` say what the last call was.

    **Returns:** ``(fn, params)``. ``fn(params, *args, **kwargs)`` takes JAX arrays and returns JAX
    arrays in the pytree that the module returns, with a NamedTuple of the same fields in place of
    a dataclass, a ``torch.return_types`` or Hugging Face's ``ModelOutput``; ``params`` is
    ``{name: jax.Array}``, a copy. What `export_parameters` returns is taken as well: buffers in it
    are used, and of a tied parameter its first name. It
    works under jit, grad (any order; forward mode only if native) and vmap.

    - ``fn(params, ..., buffers=b)`` also returns the updated buffers (BatchNorm's statistics):
      ``(output, buffers)``; start from ``fn.buffers``. The module itself is never changed.
    - ``rng=``: a JAX key for dropout and the like. Without it, seeds come from torch's global
      generator, one per call; under vmap all samples share it unless the key is mapped.
    - The module's training mode is the one at the time of tracing and, with a callback, of running:
      set it before. So are numbers, strings, functions, hooks, and used tensors among the modules'
      attributes: calls outside of ``jit`` notice if they have changed.
    - While JAX's x64 mode is off, int32 arrays arrive in torch as int64 (which its losses and
      gathers require) and int64 results come back as int32. A callback checks that they fit.

    A callback copies its inputs, takes some 0.2 ms and runs in Python; the backward pass runs the
    forward again. Convert a whole network then, not single layers.

    **Raises:** ``TypeError`` for arguments that are no arrays, for float64 while x64 is off, and
    if the module's outputs are no tensors; ``ValueError`` for wrong names in ``params`` or
    ``buffers``, for a module that is lazy or on the device meta, and for one that has other
    parameters since; `BridgeError` where ``"native"`` is impossible. What the module raises in a
    callback arrives as JAX's run-time error with torch's traceback.
    """
    if not callable(module):
        raise TypeError(f"`module` must be an nn.Module or a function, got {module!r}")
    if lowering not in get_args(Lowering):
        raise ValueError(f"`lowering` must be one of {get_args(Lowering)}, got {lowering!r}")
    function = JaxFunction(module, lowering)
    return function, dict(function.params)
