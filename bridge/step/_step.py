"""`compile_step`: a torch training step as one XLA program."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch

from ..._programs import Programs  # pyright: ignore[reportMissingImports]  # It lies in top/.
from .._arrays import as_operand, check_module
from .._config import JaxConfig, autocast_dtype
from .._dtypes import WIDTH, needs_x64
from .._errors import reraise
from .._guards import BridgeError, check_call
from .._jax_function import draw_seed
from .._optimizer import OptaxOptimizer
from .._pytree import leaf_name, to_jax, to_torch
from .._static import Static, remember
from .._torch_internals import tensors_lack_values
from .._watch import Watch, capturing
from ._loss import Call, Loss, captured_loss
from ._optax_rule import OptaxRule
from ._shared import Shared, Written
from ._torch_rules import KNOWN, TorchRule
from ._update import Moved, Plan
from ._whole import Whole

# So many programs for as many values of a constant are worth a warning.
_MANY = 8
_STATIC = (bool, int, float, complex, str)


class CompiledStep:
    """What `compile_step` returns; see there."""

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[..., Any],
        optimizer: Any,
        max_value: float | None,
        max_norm: float | None,
        accumulate: int,
    ) -> None:
        self.model = model
        self.loss = loss
        self.max_value = max_value
        self.max_norm = max_norm
        self.accumulate = accumulate
        self._whole = Whole(model, loss)
        self._rule = _rule_of(model, optimizer)
        self.optimizer = self._rule.optimizer
        self._makes_optimizer = self.optimizer is not optimizer
        self._lock = threading.Lock()
        self._sums: dict[str, jax.Array] = {}
        self._taken = 0
        self._captured_anew = 0
        with capturing:
            self._look_at_model({})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``step(*inputs, target, **options of the model)``: the loss before the update."""
        if torch.compiler.is_compiling():
            from .._compile import compiled_step_outside

            return compiled_step_outside(self, args, kwargs)
        check_call("compile_step")
        _check_surroundings()
        if not args:
            raise TypeError("a compiled step takes the model's inputs and, as last, the target")
        with self._lock:
            return self._step(args, kwargs)

    def _look_at_model(self, before: Mapping[str, torch.Tensor]) -> None:
        check_module(self.model)
        watch = Watch(self._whole, True)
        names, buffers = sorted(watch.parameters), sorted(watch.buffers)
        params = [watch.parameters[name] for name in names]
        place = {id(p): i for i, p in enumerate(params)}
        held = self._held_parameters()
        order = [place[p] for p in held if p in place]
        strangers = len(held) - len(order)
        if strangers:
            raise ValueError(
                f"`optimizer` holds {strangers} parameters that are none of the model's (any "
                "more); make it from model.parameters(), and call compile_step anew after "
                "parameters were replaced"
            )
        others = [
            (n, p) for i, (n, p) in enumerate(zip(names, params, strict=True)) if i not in order
        ]
        self._names, self._order, self._others = names, order, others
        self._params = Shared(names, params)
        self._buffers = Shared(buffers, [watch.buffers[name] for name in buffers])
        own = [*self._params.tensors, *self._buffers.tensors]
        self._device = own[0].device
        self._width = 0
        for tensor in own:
            self._width |= WIDTH.get(tensor.dtype, 0)
        self._losses: dict[Any, Loss] = {}
        self._programs = Programs()
        self._written: dict[int, Written] = {}
        self._sums = {
            name: s
            for name, s in self._sums.items()
            if watch.parameters.get(name) is before[name] and before[name].shape == s.shape
        }
        # Last, so that after an interrupt all of it is done again.
        self._watch, self._held = watch, held

    def _held_parameters(self) -> list[int]:
        """The optimiser's parameters, by identity."""
        return [id(p) for group in self.optimizer.param_groups for p in group["params"]]

    def _step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._held != self._held_parameters() or not self._watch.is_same():
            with capturing:
                # Else what was different was the capture in another thread.
                if self._held != self._held_parameters() or not self._watch.is_same():
                    self._look_at_model(self._watch.parameters)
        leaves, tree = jax.tree_util.tree_flatten((args, kwargs))
        tensors, kinds = self._sorted(leaves, (args, kwargs))
        width = self._width
        for tensor in tensors:
            width |= WIDTH.get(tensor.dtype, 0)
        config = JaxConfig.capture(needs_x64(width), self._device.type == "cpu")
        autocast = autocast_dtype(self._device)
        types = tuple([t.shape for t in tensors]), tuple([t.dtype for t in tensors])
        key = (tree, kinds, types, self._watch.variant(4), config, autocast)
        loss = self._losses.get(key)
        if loss is None or not loss.constants.are_same():
            if loss is not None:
                self._note_new_constants()
            loss = config.call(self._captured, args, kwargs, kinds, types)
            remember(self._losses, key, loss)
        return self._run(loss, tensors, config)

    def _note_new_constants(self) -> None:
        self._captured_anew += 1
        if self._captured_anew == _MANY:
            warnings.warn(
                "a tensor that is neither a parameter nor a buffer of the model has changed "
                f"{_MANY} times, each of which compiled; make it a buffer, or pass it to the step",
                stacklevel=4,
            )

    def _sorted(self, leaves: Sequence[Any], arguments: Any) -> tuple[list[torch.Tensor], Any]:
        """The tensors among the leaves, and what each leaf is: None for a tensor."""
        tensors: list[torch.Tensor] = []
        kinds: list[Static | None] = []
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, (np.ndarray, np.generic)):
                # torch takes no negative strides, and warns of memory that is read-only.
                leaf = torch.as_tensor(np.require(leaf, requirements=["C", "W"]))
            if isinstance(leaf, torch.Tensor):
                if leaf.device != self._device:
                    raise ValueError(
                        f"{_name(arguments, position)} is on device '{leaf.device}' but the model "
                        f"is on '{self._device}'; move it there first"
                    )
                tensors.append(leaf)
                kinds.append(None)
            elif isinstance(leaf, _STATIC):
                kinds.append(Static(leaf, repr(leaf)))
            else:
                raise TypeError(
                    f"{_name(arguments, position)} is a {type(leaf).__name__}; pass tensors, NumPy "
                    "arrays, numbers and strings"
                )
        return tensors, tuple(kinds)

    def _captured(self, args: Any, kwargs: Any, kinds: Any, types: Any) -> Loss:
        own = [*self._params.tensors, *self._buffers.tensors]
        params = dict.fromkeys(self._names, 0)
        buffers = dict.fromkeys(self._buffers.names, 0)
        tree = jax.tree_util.tree_structure((params, buffers, args, kwargs))
        call = Call(
            tree,
            (*(None for _ in own), *kinds),
            (*(tuple(t.shape) for t in own), *map(tuple, types[0])),
            (*(t.dtype for t in own), *types[1]),
        )
        return captured_loss(self._whole, call)

    def _run(self, loss: Loss, tensors: list[torch.Tensor], config: JaxConfig) -> Any:
        params = self._params.tensors
        sums = {i: self._sums[n] for i, n in enumerate(self._names) if n in self._sums}
        moving = self._moving(loss, sums)
        kind, state, numbers = self._rule.begin([params[i] for i in moving], config.x64)
        is_last = self._taken + 1 >= self.accumulate
        bounds = self.max_value, self.max_norm
        bounded = tuple([bound is None for bound in bounds])
        key = (loss, kind, moving, self.accumulate, is_last, tuple(sums), bounded)
        program = self._programs.find(key)
        targets = [params[i] for i in moving] if is_last else []
        written = self._outputs([*targets, *self._buffers.tensors, *self._rule.written(is_last)])
        if program is None:
            rule = self._rule
            plan = Plan(
                *(loss, moving, rule.update, kind, self.accumulate, is_last, written.packing)
            )
            program = self._programs.first(key, lambda *args: plan(*args), "a training step")
        names = [f"input {i}" for i in range(len(tensors))]
        operands = (
            self._params.operands(config.x64),
            self._buffers.operands(config.x64),
            [as_operand(n, t.detach(), config.x64) for n, t in zip(names, tensors, strict=True)],
            draw_seed() if loss.random else _NO_SEED,
            *(state, numbers, {i: s for i, s in sums.items() if i in moving}, bounds),
        )
        try:
            moved = config.call(program, *operands)
            results, tree = jax.tree_util.tree_flatten(moved.result)
            exported = config.export(results)
        except Exception as error:
            reraise(error, "the compiled step", names, tensors)
        for check, array in zip(loss.checks, moved.checked, strict=True):
            check(np.asarray(array))
        taken = 0 if is_last else self._taken + 1
        _to_the_end(lambda: self._finish(moved, written, config, taken))
        return jax.tree_util.tree_unflatten(tree, exported)

    def _finish(self, moved: Moved, written: Written, config: JaxConfig, taken: int) -> None:
        """Enter a step. To do it twice is to do it once."""
        written.take(moved.written, config)
        if taken == 0:
            self._rule.finish(moved.state)
        self._sums = {self._names[i]: s for i, s in moved.sums.items()}
        self._taken = taken

    def _moving(self, loss: Loss, sums: Mapping[int, Any]) -> tuple[int, ...]:
        """The parameters that a step moves."""
        for name, parameter in self._others if self._makes_optimizer else ():
            if parameter.requires_grad:
                raise ValueError(
                    f"`{name}` was added or unfrozen after compile_step, and the optimizer that it "
                    "made does not hold it; call compile_step anew, or freeze it"
                )
        for i in self._order:
            parameter: Any = self._params.tensors[i]
            if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
                raise BridgeError(
                    f"`{self._names[i]}` has a hook for its gradient, which a compiled step does "
                    "not run; remove it, or train in a plain loop of torch (loss.backward(), "
                    "optimizer.step())"
                )
        params = self._params.tensors
        moving = tuple(
            i for i in self._order if params[i].requires_grad and (loss.depends[i] or i in sums)
        )
        if not moving:
            raise ValueError(
                "no parameter of the optimizer has an effect on the loss, or all are frozen"
            )
        return moving

    def _outputs(self, tensors: list[torch.Tensor]) -> Written:
        found = self._written.get(len(tensors))
        if found is None or not found.is_for(tensors):
            found = self._written[len(tensors)] = Written(tensors)
        return found

    def state_dict(self) -> dict[str, Any]:
        """What continues the training bit by bit, beside the model's own and torch's random state:
        the optimiser's state dict, and gradients that wait for others (``accumulate``)."""
        sums = to_torch(self._sums, copy=True)
        return {"optimizer": self.optimizer.state_dict(), "taken": self._taken, "sums": sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if set(state_dict) != {"optimizer", "taken", "sums"}:
            raise ValueError("`state_dict` does not come from a compiled step")
        if not 0 <= state_dict["taken"] < self.accumulate:
            raise ValueError(
                f"`state_dict` waits for more gradients than accumulate={self.accumulate}; make "
                "the step with the same number"
            )
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self._sums = to_jax(dict(state_dict["sums"]), copy=True)
        self._taken = state_dict["taken"]


_NO_SEED = np.zeros(2, np.uint32)


def _check_surroundings() -> None:
    where = tensors_lack_values()
    if where:
        raise BridgeError(
            f"a compiled step was called inside {where}, where tensors have no values of their "
            "own, but it moves the model's parameters at once. Call it outside; for gradients in "
            "another way call the model itself, or bridge.as_jax_function(model) in JAX"
        )


def _to_the_end(finish: Callable[[], None], tries: int = 3) -> None:
    """Call it, and again where an interrupt (Ctrl-C, an alarm) stopped it: no half steps."""
    try:
        finish()
    except BaseException:
        if tries > 1:
            _to_the_end(finish, tries - 1)
        raise


def _name(arguments: Any, position: int) -> str:
    path, _ = jax.tree_util.tree_flatten_with_path(arguments)[0][position]
    return leaf_name("args" if path[0].idx == 0 else "kwargs", path[1:])


def _rule_of(model: torch.nn.Module, optimizer: Any) -> TorchRule | OptaxRule:
    if isinstance(optimizer, OptaxOptimizer):
        return OptaxRule(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        return TorchRule(optimizer)
    if hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return OptaxRule(OptaxOptimizer(named, optimizer))
    raise TypeError(f"`optimizer` must be {KNOWN}, got {optimizer!r}")


def compile_step(
    model: torch.nn.Module,
    loss: Callable[..., Any],
    optimizer: Any,
    *,
    max_value: float | None = None,
    max_norm: float | None = None,
    accumulate: int = 1,
) -> CompiledStep:
    """A whole training step, forward, loss, gradients and update, as one XLA program.

    ``step = compile_step(model, loss, optimizer)``, then ``step(*inputs, target)`` computes
    ``loss(model(*inputs), target)`` and moves the parameters. The model stays an ordinary torch
    module: parameters and buffers are written in place, and up to date after each step.

    **Arguments:**

    - ``model``: an ``nn.Module`` whose operators have a form in JAX, as of
      ``as_jax_function(lowering="native")``: torch's common layers, `JaxModule`, evtorch's layers.
      It is captured once for each set of shapes, dtypes, and numbers, strings, functions, hooks,
      and used tensors among its modules' attributes; other changes after that are not seen.
    - ``loss``: a function of torch or of JAX, of the model's output and the target. It returns a
      scalar, or a tuple that begins with one; what else is in it comes back beside the loss.
    - ``optimizer``: a `torch.optim.Adam`, ``AdamW`` or ``SGD``, whose state and learning rates stay
      in it (torch's schedulers work); an `OptaxOptimizer`; or an optax transformation. Parameters
      that it does not hold, that are frozen, or that have no effect on the loss stay as they are.
    - ``max_value``, ``max_norm``: bounds on gradients before the update, as in
      `torch.nn.utils.clip_grad_value_` and, thereafter, `clip_grad_norm_`.
    - ``accumulate``: how many steps' gradients are averaged before an update.

    **Returns:** a callable that returns the loss before the update, and whatever else ``loss``
    returns, as tensors. ``step.optimizer`` is the optimiser; ``step.state_dict()`` what continues
    the training exactly.

    Random numbers come from JAX, with seeds from torch's global generator. A step in which a layer
    raises (`SpikeOverflowError`) changes nothing; one that is interrupted is taken or not, never
    half. ``.grad`` is neither read nor written, and what comes back carries no gradients.

    **Raises:** `BridgeError` for what has no form in JAX, with the line of the module (in the first
    step), for hooks of gradients, and for a step inside `torch.func`; ``TypeError`` for other
    optimisers, by name; ``ValueError`` for an optimiser of another model's parameters, for a model
    on the device meta or with lazy modules, and for a loss that is no scalar.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {model!r}")
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        raise TypeError(
            "`model` is a DistributedDataParallel, which exchanges gradients in loss.backward(); "
            "train it in a plain loop"
        )
    check_module(model)
    if not callable(loss):
        raise TypeError(f"`loss` must be a function of output and target, got {loss!r}")
    others = set(loss.parameters() if isinstance(loss, torch.nn.Module) else ())
    if any(p.requires_grad for p in others - set(model.parameters())):
        raise ValueError(
            "`loss` has parameters of its own, which would not be trained; make it part of the "
            "model, or freeze them"
        )
    for name, bound in (("max_value", max_value), ("max_norm", max_norm)):
        if bound is not None and not bound > 0:
            raise ValueError(f"`{name}` must be positive or None, got {bound!r}")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(f"`accumulate` must be a positive integer, got {accumulate!r}")
    check_call("compile_step")
    return CompiledStep(model, loss, optimizer, max_value, max_norm, accumulate)
