"""Data sets under their names there."""

from .yinyang import YinYangDataset as YinYangDataset
