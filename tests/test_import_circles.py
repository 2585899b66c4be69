"""No module needs, while it is imported, one whose own import waits for it."""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "top": "evtorch",
    **{name: f"evtorch/{name}" for name in ("bridge", "jax_core", "torch_api")},
}


def run_on_import(nodes: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports outside of functions, but for those that only type checkers see."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from run_on_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from run_on_import(ast.iter_child_nodes(node))


def named(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[tuple[str, str]]:
    """What an import in a module of ``package`` names: a module, and a name that it takes or ""."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    else:
        base = package[: len(package) + 1 - node.level] if node.level else []
        module = ".".join((*base, *filter(None, [node.module])))
        yield from ((module, alias.name) for alias in node.names)


def imports(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which modules each one needs, from files by path, such as ``evtorch/bridge/__init__.py``.

    A sub-module taken from its package is needed itself, not the package. A module also needs the
    packages that it reaches into, whose ``__init__`` runs first; those it lies in run already.
    """
    names = {path: path.removesuffix(".py").split("/") for path in sources}
    modules = {
        path: ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for path, parts in names.items()
    }
    known = set(modules.values())
    needed: dict[str, set[str]] = {name: set() for name in known}
    for path, name in modules.items():
        for node in run_on_import(ast.parse(sources[path]).body):
            for module, taken in named(node, names[path][:-1]):
                whole = f"{module}.{taken}"
                target = whole if whole in known else module
                around = {target[:k] for k, letter in enumerate(target) if letter == "."}
                own = {each for each in around if f"{name}.".startswith(f"{each}.")}
                needed[name] |= ({target} | around - own) & known
    return needed


def circle(needed: dict[str, set[str]]) -> list[str]:
    """Modules that need each other in a row, the first again at the end; none if there is none."""
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_there_is_no_circle() -> None:
    sources = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}": path.read_text()
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    needed = imports(sources)
    assert (
        "evtorch.jax_core.hardware.worker._contract" in needed["evtorch.jax_core.hardware._split"]
    )
    assert circle(needed) == []


@pytest.mark.parametrize(
    "files",
    [
        {"a": "from . import b", "b": "from .a import x"},
        {"a": "from . import x", "__init__": "from .a import y"},
        {"a": "from .q import b", "q/__init__": "from ..a import x", "q/b": ""},
        {"a": "import p.b", "b": "class C:\n    from .a import x"},
        {"a": "from .b import x", "b": "if TYPE_CHECKING:\n    pass\nelse:\n    from .a import x"},
        {"a": "from . import a"},
    ],
)
def test_circles_are_found(files: dict[str, str]) -> None:
    assert circle(imports({f"p/{name}.py": source for name, source in files.items()}))


@pytest.mark.parametrize(
    "files",
    [
        {"__init__": "from .a import x\nfrom .q import y", "a": "from . import b", "b": ""},
        {"q/__init__": "from .a import x", "q/a": "from ..q import b\nfrom .b import y", "q/b": ""},
        {"a": "from .b import x", "b": "def f():\n    from .a import x"},
        {"a": "from .b import x", "b": "if typing.TYPE_CHECKING:\n    from .a import x"},
        {"a": "from numpy import b", "b": "from .a import x"},
    ],
)
def test_what_is_no_circle_passes(files: dict[str, str]) -> None:
    assert not circle(imports({f"p/{name}.py": source for name, source in files.items()}))
