"""Dense spikes as those of NIR."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ...nir._package import nir_package


def to_nir_data(hxtorch_dict: Mapping[str, Tensor], hxtorch_model: Any) -> Any:
    """Dense spikes ``(time, batch, neurons)`` by the name of the node as a ``nir.NIRGraphData``."""
    nir = nir_package()
    nodes = {}
    for name, spikes in hxtorch_dict.items():
        grid = np.moveaxis(spikes.detach().cpu().numpy() > 0, 0, 1)
        observed = nir.TimeGriddedData(np.ascontiguousarray(grid), hxtorch_model.exp.dt)
        nodes[name] = nir.NIRNodeData({"spikes": observed})
    return nir.NIRGraphData(nodes)
