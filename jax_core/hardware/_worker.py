"""The earlier place of the worker's script, for commands that spell it; it is ``worker`` now."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    script = Path(__file__).resolve().parent / "worker" / "__main__.py"
    runpy.run_path(str(script), run_name="__main__")
