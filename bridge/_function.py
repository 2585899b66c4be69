"""`as_torch_function`: a JAX function that torch code calls like one of its own."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax
import numpy as np
import torch
from jax.core import Tracer
from torch.utils._pytree import register_constant

from ._arrays import tensor_copy
from ._autograd import run
from ._flat import FlatFunction
from ._guards import check_call
from ._pytree import leaf_name
from ._static import MAX_ENTRIES, Static, remember

ResidualPolicy = Literal["auto", "residual", "recompute"]
POLICIES = ("auto", "residual", "recompute")

_STATIC_TYPES = (bool, int, float, complex, str, bytes)
_ARRAY = object()
"""Kind of a leaf that is a JAX array and reaches the function as it is."""


class TorchFunction:
    """What `as_torch_function` returns. Copying it gives the same object; it pickles by the
    import path of itself or of its JAX function."""

    def __init__(
        self, jax_fn: Callable[..., Any], static_argnames: Iterable[str], residuals: str
    ) -> None:
        if not callable(jax_fn):
            raise TypeError(f"`jax_fn` must be callable, got {jax_fn!r}")
        if residuals not in POLICIES:
            raise ValueError(f"`residuals` must be one of {POLICIES}, got {residuals!r}")
        self.jax_fn = jax_fn
        self.residuals = residuals
        self.static_argnames = (
            (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        )
        # Not its __dict__: a callable object's own attributes must not become this one's.
        functools.update_wrapper(self, jax_fn, updated=())
        self.name = getattr(jax_fn, "__name__", type(jax_fn).__name__)
        self._parameters = _positional_parameters(jax_fn)
        self._static_positions = self._find_static_positions()
        self._variants: dict[Any, FlatFunction] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The JAX function's outputs, as tensors in the same pytree."""
        if torch.compiler.is_compiling():
            # Importing torch's compiler takes a second; here it is loaded already.
            from ._compile import compiled_call

            return compiled_call(self, args, kwargs)
        return self.call(args, kwargs)

    def __set_name__(self, owner: type, name: str) -> None:
        if self._parameters[:1] == ("self",):
            raise TypeError(
                f"as_torch_function cannot wrap the method {owner.__name__}.{name}, whose `self` "
                "is no array; wrap a function of arrays and call it in the method"
            )

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`__call__` outside of torch.compile's view."""
        check_call(self.name)
        declared: dict[str, Static] = {}
        if self.static_argnames:
            kwargs = dict(kwargs)
            args = self._take_declared(args, kwargs, declared)
        leaves, tree = jax.tree_util.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        extras: list[jax.Array] = []
        kinds = None
        if len(tensors) < len(leaves):
            tensors = []
            kinds = tuple(
                self._classify(leaf, position, tensors, extras, (args, kwargs))
                for position, leaf in enumerate(leaves)
            )
        key = (tree, kinds, tuple(declared.items()) if declared else ())
        function = self._variants.get(key)
        if function is None:
            function = self._new_variant(key, (args, kwargs))
        if len(self._variants) >= MAX_ENTRIES:
            remember(self._variants, key, function)
        plan, outputs = run(function, tensors, extras)
        return jax.tree_util.tree_unflatten(plan.out_tree, outputs)

    def _classify(
        self,
        leaf: Any,
        position: int,
        tensors: list[torch.Tensor],
        extras: list[jax.Array],
        arguments: Any,
    ) -> Any:
        if isinstance(leaf, torch.Tensor):
            tensors.append(leaf)
            return None
        if isinstance(leaf, Tracer):
            raise TypeError(
                f"{self._argument_names(arguments)[position]} of {self.name} is traced by a JAX "
                "transformation; call the JAX function itself there, not its torch form"
            )
        if isinstance(leaf, jax.Array):
            extras.append(leaf)
            return _ARRAY
        if isinstance(leaf, np.generic):
            leaf = leaf.item()
        if isinstance(leaf, np.ndarray):
            tensors.append(tensor_copy(self._argument_names(arguments)[position], leaf))
            return None
        if isinstance(leaf, _STATIC_TYPES):
            return Static(leaf, repr(leaf))
        raise TypeError(
            f"{self._argument_names(arguments)[position]} of {self.name} is a "
            f"{type(leaf).__name__}, which is no tensor, array, number or string; name the "
            "argument in static_argnames if it is a hashable constant"
        )

    def _new_variant(self, key: Any, arguments: Any) -> FlatFunction:
        tree, kinds, declared = key
        kinds = kinds or (None,) * tree.num_leaves
        # Not through self, which holds what is made here.
        fn, positions = self.jax_fn, self._static_positions

        def flat(extras: Sequence[jax.Array], *arrays: Any) -> Any:
            traced, others = iter(arrays), iter(extras)
            values = [
                next(traced) if k is None else next(others) if k is _ARRAY else k.value
                for k in kinds
            ]
            args, kwargs = jax.tree_util.tree_unflatten(tree, values)
            args, kwargs = _restore_declared(positions, args, kwargs, declared)
            return fn(*args, **kwargs)

        names = self._argument_names(arguments)
        traced = [name for name, kind in zip(names, kinds, strict=True) if kind is None]
        function = FlatFunction(flat, self.name, traced, self.residuals)
        remember(self._variants, key, function)
        return function

    def _argument_names(self, arguments: Any) -> list[str]:
        names = []
        for path, _ in jax.tree_util.tree_flatten_with_path(arguments)[0]:
            keyword, first, rest = path[0].idx == 1, path[1], path[2:]
            if keyword:
                root = first.key
            elif first.idx < len(self._parameters):
                root = self._parameters[first.idx]
            else:
                root = f"args[{first.idx}]"
            names.append(leaf_name(root, rest))
        return names

    def _find_static_positions(self) -> dict[str, int | None]:
        positions: dict[str, int | None] = {}
        for name in self.static_argnames:
            positions[name] = self._parameters.index(name) if name in self._parameters else None
            if positions[name] is None and not _accepts_keyword(self.jax_fn, name):
                raise ValueError(
                    f"`static_argnames` names {name!r}, but {self.name} has no such parameter"
                )
        return positions

    def _take_declared(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], declared: dict[str, Static]
    ) -> tuple[Any, ...]:
        remaining = list(args)
        for name, position in self._static_positions.items():
            if name in kwargs:
                value = kwargs.pop(name)
            elif position is not None and position < len(args):
                value, remaining[position] = remaining[position], None
            else:
                continue
            try:
                hash(value)
            except TypeError as error:
                raise TypeError(
                    f"`{name}` of {self.name} is declared static but {type(value).__name__} is "
                    "not hashable; pass a hashable value such as a tuple, or leave it out of "
                    "static_argnames"
                ) from error
            declared[name] = Static(value, value)
        return tuple(remaining)

    def _identity(self) -> tuple[Any, ...]:
        return self.jax_fn, self.static_argnames, self.residuals

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TorchFunction) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"as_torch_function({self.jax_fn!r})"

    def __copy__(self) -> TorchFunction:
        return self

    def __deepcopy__(self, memo: Any) -> TorchFunction:
        return self

    def __reduce__(self) -> Any:
        if _resolve(self) is self:
            return _resolve_name, (self.jax_fn.__module__, self.jax_fn.__qualname__)
        return TorchFunction, self._identity()


# torch.compile must know this before it meets the first one.
register_constant(TorchFunction)


def _restore_declared(
    positions: dict[str, int | None], args: Sequence[Any], kwargs: dict[str, Any], declared: Any
) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = list(args), dict(kwargs)
    for name, static in declared:
        position = positions[name]
        if position is not None and position < len(args):
            args[position] = static.value
        else:
            kwargs[name] = static.value
    return args, kwargs


def _positional_parameters(fn: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in kinds)


def _accepts_keyword(fn: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return True
    return name in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def _resolve_name(module: str, qualname: str) -> Any:
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))


def _resolve(function: TorchFunction) -> Any:
    try:
        return _resolve_name(function.jax_fn.__module__, function.jax_fn.__qualname__)
    except (AttributeError, ImportError):
        return None


def as_torch_function(
    jax_fn: Callable[..., Any],
    *,
    static_argnames: str | Iterable[str] = (),
    residuals: ResidualPolicy = "auto",
) -> TorchFunction:
    """A JAX function as a differentiable function of torch tensors.

    Compiled once per argument structure, shapes, dtypes and static values, forward and backward;
    later calls only run. Wrap as much as possible in one function: each call across the bridge
    has a fixed cost of some 10 µs.

    **Arguments:**

    - ``jax_fn``: a pure JAX function (`jax.jit` is applied to it). Its arguments and results are
      pytrees: tuples, lists, dicts, NamedTuples, None, and whatever is registered with JAX.
    - ``static_argnames``: parameters that JAX shall see as Python values; any hashable value.
      Numbers of Python and NumPy and strings among the other arguments are static too: a new value
      compiles anew (pass a 0-d tensor for a number that changes often). The most recent 256
      combinations of structure and static values are kept, and of all bridged functions together
      the most recent 256 compiled programs, one for each set of shapes.
    - ``residuals``: ``"residual"`` keeps what JAX's forward pass computed for the backward pass,
      ``"recompute"`` keeps only the inputs and runs the forward again, ``"auto"`` recomputes if
      the function has nothing costlier than elementwise work and reductions.

    **Returns:** a callable. Tensors become JAX arrays of the same dtype and device; JAX arrays
    (such as PRNG keys) pass through without gradients. Outputs are new tensors that share memory
    with nothing; integer and boolean outputs are not differentiable.

    64-bit inputs are computed in 64 bits whatever JAX's x64 switch says, in the backward pass
    too. int64 beside narrower floats is passed as int32 after a range check. Autocast does not
    change the dtypes of a bridged function's inputs.

    **Raises:** ``TypeError`` for arguments and outputs that are no arrays, and where ``jax_fn``
    needs the value of a traced array; ``ValueError`` for tensors on several devices or one that
    JAX cannot read; ``OverflowError`` for int64 values that do not fit; `BridgeError` for a
    derivative that does not exist, after a fork, and inside `as_jax_function`.
    """
    return TorchFunction(jax_fn, static_argnames, residuals)
