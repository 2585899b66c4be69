"""The base of populations that stand for input."""

from .._hx_module import HXModule


class InputPopulation(HXModule):
    """Base of populations that stand for input."""

    has_neurons = True
