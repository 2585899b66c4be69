"""Packages list their public names, and nothing else; importing the top level is quick."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "top": "evtorch",
    **{name: f"evtorch.{name}" for name in ("bridge", "jax_core", "torch_api")},
}


def _public_modules() -> dict[str, Path]:
    """The files of all packages and of the public modules in them, by their import names.

    Not those of inner packages, which are a docstring and offer nothing.
    """
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            inner = path.name == "__init__.py" and len(ast.parse(path.read_text()).body) == 1
            if not inner and not any(part.startswith("_") for part in parts):
                found[".".join((package, *parts))] = path
    return found


MODULES = _public_modules()


def _offered(path: Path) -> set[str]:
    """What a file defines, or imports as itself, under a public name."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
    return {name for name in found if name and not name.startswith("_")}


def test_all_packages_are_found() -> None:
    assert {"evtorch", "evtorch.bridge", "evtorch.torch_api.hx.transforms.encode"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_listed_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, each) for each in module.__all__)
    if name != "evtorch":
        assert set(module.__all__) == _offered(MODULES[name])


@pytest.mark.parametrize(
    "name", [name for name, path in MODULES.items() if path.name == "__init__.py"]
)
def test_dir_shows_public_names_only(name: str) -> None:
    module = importlib.import_module(name)
    assert set(dir(module)) == set(module.__all__)


def test_the_top_level_is_imported_within_50_ms() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import evtorch"]
    found = []
    for _ in range(5):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = re.findall(r"\| +(\d+) \| evtorch\n", done.stderr)
        found.append(int(lines[-1]))
    assert min(found) < 50_000
