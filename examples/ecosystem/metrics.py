"""Metrics of torchmetrics over the batches of an epoch, and what to do with silent samples.

    python examples/ecosystem/metrics.py

`snn.first_to_spike` answers -1 where no output spikes. That is a wrong answer of no class: metrics
take it as a class of its own, after the others, which no sample has.
"""

import torch
from _classifier import BATCH_SIZE, build_model, load_data, loss_function
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from evtorch import torch_api as snn

CLASSES = 3


def answers(spikes: Tensor) -> Tensor:
    """The class of each sample, or ``CLASSES`` for none."""
    first = snn.first_to_spike(spikes)
    return torch.where(first < 0, CLASSES, first)


def main(epochs: int = 6) -> dict[str, Tensor]:
    """**Returns** accuracy, confusion matrix and share of silent neurons on the test samples."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data, test = load_data()
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    found = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(CLASSES + 1, average="micro"),
            "confusion": MulticlassConfusionMatrix(CLASSES + 1),
        }
    )
    silent = MeanMetric()
    results: dict[str, Tensor] = {}
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_function(model(data.values[batch]), data.classes[batch]).backward()
            optimizer.step()
        found.reset()
        silent.reset()
        with torch.no_grad():
            for batch in torch.arange(len(test)).split(BATCH_SIZE):
                found.update(answers(model(test.values[batch])), test.classes[batch])
                silent.update(snn.health_report(model).layers[0].silent_fraction)
        results = {**found.compute(), "silent": silent.compute()}
    return results


if __name__ == "__main__":
    for name, value in main().items():
        print(name, value.tolist(), sep="\n")
