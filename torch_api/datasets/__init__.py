"""Datasets for event-based networks."""

from ._yinyang import YinYang as YinYang
