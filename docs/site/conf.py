"""How Sphinx builds the site: ``make docs``.

The sources are the repository's own pages, read where they lie, so that their links work here and
there. The start page is the README, to which the table of contents is added.
"""

from typing import Any

import evtorch

project = "evtorch"
author = copyright = "evtorch developers"
release = evtorch.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/tutorials/*.md",
    "docs/site/api/*.rst",
    "benchmarks/**.md",
    "examples/ecosystem/README.md",
]
exclude_patterns = [".*", "**/.*", "runs"]

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

default_role = "py:obj"
autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# What torch says of every module's forward says nothing.
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
# No network while building: names of other projects stay plain.
intersphinx_mapping: dict[str, Any] = {}

html_theme = "furo"
html_title = "evtorch"
html_extra_path = ["extra"]
html_static_path: list[str] = []
html_copy_source = False
copybutton_exclude = ".linenos, .gp"

CONTENTS = """

```{toctree}
:hidden:
:caption: Tutorials

docs/tutorials/first_network
docs/tutorials/digits
docs/tutorials/recurrent_and_delays
docs/tutorials/hardware_in_the_loop
docs/tutorials/bridge_both_ways
examples/ecosystem/README
```

```{toctree}
:hidden:
:caption: Guides

docs/torch_api
docs/neurons
docs/ode_neurons
docs/training
docs/plasticity
docs/hardware
docs/bridge
docs/exchange
docs/parallel
docs/nir
docs/hxtorch
docs/jaxsnn
docs/workers
```

```{toctree}
:hidden:
:caption: How it works

docs/conventions
docs/gradients
docs/architecture
docs/bridge_operators
docs/bridge_features
```

```{toctree}
:hidden:
:caption: Reference
:glob:

docs/site/api/*
```

```{toctree}
:hidden:
:caption: Measured
:glob:

benchmarks/README
benchmarks/results/*
```

```{toctree}
:hidden:
:caption: Project

CONTRIBUTING
CHANGELOG
CODE_OF_CONDUCT
SECURITY
```
"""


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    """Add to the README what GitHub would not understand."""
    if docname == root_doc:
        source[0] += CONTENTS


def keep_equations(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Show indented lines of docstrings, which are equations, as they are written."""
    for k in range(len(lines) - 1, 0, -1):
        begins = lines[k].startswith("    ") and not lines[k - 1].strip()
        above = next((line for line in reversed(lines[:k]) if line.strip()), "")
        if begins and not above.startswith(" "):
            lines[k:k] = ["::", ""]


def setup(app: Any) -> None:
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", keep_equations)
