"""Lightning trains a spiking network, ends, and goes on from its checkpoint.

    python examples/ecosystem/lightning_trainer.py
    python examples/ecosystem/lightning_trainer.py --devices 2     # processes, over gloo

A spiking model in a LightningModule needs nothing of its own. What deserves to be logged besides
the loss is the share of silent neurons, which have no gradient.
"""

import argparse
from pathlib import Path

import torch
from _classifier import BATCH_SIZE, accuracy, build_model, load_data, loss_function
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from evtorch import torch_api as snn


class Classifier(LightningModule):
    """A spiking classifier with its optimiser, and what is logged of it."""

    def __init__(self, hidden: int = 20, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.model = build_model(hidden)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        values, classes = batch
        loss = loss_function(self.model(values), classes)
        hidden = snn.health_report(self.model).layers[0]
        self.log_dict({"loss": loss, "silent": hidden.silent_fraction}, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        values, classes = batch
        right = snn.first_to_spike(self.model(values)) == classes
        self.log("accuracy", right.float().mean(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.lr)


def fit(out: Path, epochs: int, devices: int = 1, resume: Path | None = None) -> Classifier:
    """Train until ``epochs`` are done, from the beginning or from a checkpoint."""
    data, test = load_data()
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        # A forked process cannot use a JAX that its parent has used.
        strategy="ddp_spawn" if devices > 1 else "auto",
        max_epochs=epochs,
        callbacks=[ModelCheckpoint(out, filename="last", enable_version_counter=False)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    classifier = Classifier()
    # The last batch is dropped if it is smaller: another size would be compiled, too.
    trainer.fit(
        classifier,
        DataLoader(data, BATCH_SIZE, shuffle=True, drop_last=True),
        DataLoader(test, BATCH_SIZE),
        ckpt_path=resume,
        weights_only=True,
    )
    return classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/lightning"))
    parser.add_argument("--devices", type=int, default=1)
    arguments = parser.parse_args()
    seed_everything(0)
    fit(arguments.out, epochs=3, devices=arguments.devices)
    resumed = fit(arguments.out, 6, arguments.devices, resume=arguments.out / "last.ckpt")
    again = Classifier.load_from_checkpoint(arguments.out / "last.ckpt")
    print(f"test accuracy {accuracy(resumed.model, load_data()[1]):.1%}")
    print(f"of the checkpoint {accuracy(again.model, load_data()[1]):.1%}")


if __name__ == "__main__":
    main()
