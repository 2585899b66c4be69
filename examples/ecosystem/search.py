"""Optuna searches learning rate, time constants and size in one process.

    python examples/ecosystem/search.py --trials 100

Numbers are values at run time, so all trials with one size share one compiled program; sizes come
from a short list. Memory is printed at the beginning and at the end, and stays.
"""

import argparse
import resource
from typing import Any

import optuna
import torch
from _classifier import BATCH_SIZE, MS, accuracy, build_model, load_data, loss_function

SIZES = (10, 20)
EPOCHS = 2


def objective(trial: optuna.Trial) -> float:
    """Accuracy after a short training; hopeless trials end earlier."""
    torch.manual_seed(trial.number)
    data, test = load_data()
    model = build_model(
        trial.suggest_categorical("hidden", SIZES),
        tau_mem=trial.suggest_float("tau_mem", 10 * MS, 40 * MS, log=True),
        tau_syn=trial.suggest_float("tau_syn", 5 * MS, 20 * MS, log=True),
    )
    rate = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    found = 0.0
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_function(model(data.values[batch]), data.classes[batch]).backward()
            optimizer.step()
        found = accuracy(model, test)
        trial.report(found, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return found


def peak_memory() -> float:
    """The process's largest memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(trials: int = 100) -> tuple[optuna.Study, list[float]]:
    """**Returns** the study, and the peak memory after each trial, MiB."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    memory: list[float] = []

    def note(*_: Any) -> None:
        memory.append(peak_memory())

    study.optimize(objective, n_trials=trials, callbacks=[note])
    return study, memory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    study, memory = main(parser.parse_args().trials)
    print(f"best {study.best_value:.1%} with {study.best_params}")
    third = len(memory) // 3
    print(
        f"peak memory {memory[third]:.0f} MiB after {third + 1} trials, {memory[-1]:.0f} at the end"
    )
