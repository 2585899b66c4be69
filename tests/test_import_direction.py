"""The three packages know each other in one direction only, and users see public names only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "top": set(),
    "bridge": {"evtorch.jax_core", "evtorch.torch_api"},
    "jax_core": {"torch", "evtorch.bridge", "evtorch.torch_api"},
    "torch_api": set(),
}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_names(source: str, package: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield each import of a module with relative ones resolved, as ``module`` and ``module.name``.

    ``package`` is the dotted package of the module, split, e.g. ``("evtorch", "bridge")``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def package_of(path: Path) -> tuple[str, ...]:
    return ("evtorch", *path.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_package_imports_only_what_it_may_know(folder: str) -> None:
    files = python_files(folder)
    assert files
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_names(path.read_text(), package_of(path))
        if any(is_within(name, package) for package in FORBIDDEN[folder])
    }
    assert not wrong


def test_package_uses_relative_imports_within_evtorch() -> None:
    # `import evtorch.x` inside the package would resolve to another copy in some install modes.
    absolute = {
        str(path.relative_to(ROOT))
        for path in python_files(*FORBIDDEN)
        for name in imported_names(path.read_text())
        if is_within(name, "evtorch")
    }
    assert not absolute


@pytest.mark.parametrize("folder", ["examples", "benchmarks"])
def test_users_of_the_library_import_public_names_only(folder: str) -> None:
    private = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(folder)
        for name in imported_names(path.read_text())
        if is_within(name, "evtorch") and any(part.startswith("_") for part in name.split("."))
    }
    assert not private


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_public_surface_is_in_init_files_only(folder: str) -> None:
    public = {path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("_")}
    assert not public


def test_the_resolver_follows_every_import_form() -> None:
    source = "import a.b\nfrom c import d\nfrom . import e\nfrom .f import g\nfrom ..h import i\n"
    names = set(imported_names(source, ("evtorch", "bridge")))
    assert {"a.b", "c.d", "evtorch.bridge.e", "evtorch.bridge.f.g", "evtorch.h.i"} <= names
