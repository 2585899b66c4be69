"""The list of operators for the documentation: ``python -m evtorch.bridge.lower._document``."""

from __future__ import annotations

from ._operators._registry import NAMES
from ._operators._table import PARTS

_HEAD = """# Operators that become JAX

Written by `python -m evtorch.bridge.lower._document > docs/bridge_operators.md`.

With `as_jax_function(module, lowering="native")` these operators of torch's ATen become JAX.
Others are first replaced by these where torch knows how (`core_aten_decompositions`), as most are:
a function of `torch.nn.functional` need not be in the list. Functions bridged from JAX, evtorch's
layers, `torch.autograd.Function`s, and `torch.lstm`, `gru` and `rnn` become JAX, too.
"""


def document() -> str:
    """docs/bridge_operators.md."""
    lines = [_HEAD]
    for part in PARTS:
        name = part.__name__.rpartition(".")[2]
        found = sorted(own for own, place in NAMES.items() if place == name)
        if found:
            title = (part.__doc__ or "").strip().rstrip(".")
            lines += [f"## {title}\n", f"{', '.join(f'`{own}`' for own in found)}\n"]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(document(), end="")
