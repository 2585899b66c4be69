"""Functions fit on a screen."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST = 50


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without docstring: the arguments of a look-alike are not ours to choose."""
    first, *others = function.body
    is_documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if not is_documented:
        return (function.end_lineno or 0) - first.lineno + 1
    return (function.end_lineno or 0) - others[0].lineno + 1 if others else 0


@pytest.mark.parametrize("folder", ["top", "bridge", "jax_core", "torch_api", "examples"])
def test_functions_have_at_most_50_lines_without_their_docstring(folder: str) -> None:
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(ROOT)}: {node.name}"] = _length(node)
    assert found
    assert {name: length for name, length in found.items() if length > MOST} == {}
