"""What says where on a chip something lies."""

from typing import Any


class Recorded:
    """Stands for a coordinate or another object of placement: remembers how it was made.

    Its attributes, and what calls of them return, are recorded likewise.
    """

    def __init__(self, name: str, *values: Any, **named: Any) -> None:
        self.name, self.values, self.named = name, values, named

    def __repr__(self) -> str:
        named = [f"{key}={value!r}" for key, value in self.named.items()]
        return f"{self.name}({', '.join([*map(repr, self.values), *named])})"

    def __call__(self, *values: Any, **named: Any) -> "Recorded":
        return Recorded(self.name, *values, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorded(f"{self.name}.{name}")
