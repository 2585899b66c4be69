"""Weights from models whose parameters have other names."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class MixinHXModelMapper:
    """Base beside ``nn.Module`` of models that take the weights of others."""

    def map_from(
        self, state_dict: Mapping[str, Tensor], mapping: Mapping[str, str], map_all: bool = True
    ) -> None:
        """Copy parameters and buffers from another model.

        **Arguments:** ``state_dict``: that of the other model; ``mapping``: names there by the
        names here; ``map_all``: also copy what has the same name in both.

        **Raises:** ``KeyError`` for a name that ``state_dict`` does not have.
        """
        assert isinstance(self, nn.Module)
        own: dict[str, Any] = self.state_dict()
        for name in mapping:
            if name not in own:
                warnings.warn(
                    f"{type(self).__name__} has no parameter {name!r}, only {', '.join(own)}",
                    stacklevel=2,
                )
        for name, tensor in own.items():
            # Numbers that belong to a module, which other models do not have.
            if name.rpartition(".")[2] == "_extra_state" or not (map_all or name in mapping):
                continue
            source = name if name in state_dict else mapping.get(name)
            if source is None or source not in state_dict:
                missing = repr(name) if source is None else f"{name!r} nor {source!r}"
                raise KeyError(
                    f"state_dict has {'no' if source is None else 'neither'} {missing}; map "
                    f"{name!r} to one of {', '.join(state_dict)}, or pass map_all=False"
                )
            with torch.no_grad():
                tensor.copy_(state_dict[source])
