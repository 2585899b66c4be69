"""Save and load a spiking model as those on the Hugging Face Hub are: with its constants.

    python examples/ecosystem/pretrained.py

`save_pretrained` writes what the model was made with into config.json, and its weights, also those
of buffers, into model.safetensors; `push_to_hub` would put both on the Hub. The weights know the
constants that they were trained with: if the configuration says another, loading warns.
"""

import json
import tempfile
import warnings
from pathlib import Path

import torch
from _classifier import MS, accuracy, build_model, load_data
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from evtorch import torch_api as snn


class Classifier(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="evtorch",
    tags=["spiking-neural-network"],
    license="mit",
):
    """All arguments go into config.json, so let them be numbers, texts, or lists of them."""

    def __init__(self, hidden: int = 20, tau_mem: float = 20 * MS, tau_syn: float = 10 * MS):
        super().__init__()
        self.layers = build_model(hidden, tau_mem, tau_syn)

    def forward(self, values: Tensor) -> Tensor:
        return self.layers(values)


def main(folder: Path) -> tuple[float, float, list[str]]:
    """**Returns** accuracies of a model before and after, and what another constant makes it say.

    What is saved here is not even trained, which changes nothing.
    """
    torch.manual_seed(0)
    _, test = load_data()
    model = Classifier(tau_mem=30 * MS)
    model.save_pretrained(folder)
    loaded = Classifier.from_pretrained(folder)

    configuration = folder / "config.json"
    changed = {**json.loads(configuration.read_text()), "tau_mem": 10 * MS}
    configuration.write_text(json.dumps(changed))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", snn.CheckpointWarning)
        Classifier.from_pretrained(folder)
    said = [str(one.message) for one in caught if one.category is snn.CheckpointWarning]
    return accuracy(model, test), accuracy(loaded, test), said


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after, said = main(Path(temporary))
    print(f"accuracy before {before:.1%}, after {after:.1%}", *said, sep="\n")
