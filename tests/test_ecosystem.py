"""The examples with other libraries' tools run, and do what they say."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import pytest
import torch

FOLDER = Path(__file__).parent.parent / "examples" / "ecosystem"
NEEDS = {
    "_classifier": "torch",
    "compiled_hybrid": "sklearn",
    "ddp": "torch",
    "event_loader": "torch",
    "lightning_trainer": "lightning",
    "metrics": "torchmetrics",
    "optax_rule": "optax",
    "pretrained": "huggingface_hub",
    "search": "optuna",
}


@pytest.fixture(scope="module", autouse=True)
def _in_their_folder() -> Iterator[None]:
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        _do_without_torchvision(patch)
        yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


def _do_without_torchvision(patch: pytest.MonkeyPatch) -> None:
    """Norse brings one of the default build, which does not load beside another build of torch.

    torchmetrics imports what there is, for metrics of images, which nothing here uses.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in ("torchvision", "torchvision.transforms", "torchvision.models"):
            patch.setitem(sys.modules, name, mock.MagicMock())


def example(name: str) -> Any:
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is missing: pip install '.[ecosystem]'")
    return importlib.import_module(name)


def test_every_example_is_short_and_tested_here() -> None:
    files = {path.stem: path.read_text().splitlines() for path in FOLDER.glob("*.py")}
    assert set(files) == set(NEEDS)
    assert max(map(len, files.values())) <= 100
    text = (FOLDER / "README.md").read_text()
    assert all(f"({name}.py)" in text for name in files if not name.startswith("_"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Lightning's own parts
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*(num_workers|litlogger|logging interval)")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_lightning_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    lightning = example("lightning_trainer")
    torch.manual_seed(0)
    first = lightning.fit(tmp_path, epochs=1)
    assert first.trainer.callback_metrics["accuracy"] > 0.3
    assert 0 <= first.trainer.callback_metrics["silent"] < 1
    resumed = lightning.fit(tmp_path, epochs=2, resume=tmp_path / "last.ckpt")
    assert resumed.trainer.global_step == 20, "ten of them are those of the first"
    loaded = lightning.Classifier.load_from_checkpoint(tmp_path / "last.ckpt")
    for one, other in zip(loaded.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.model[1].weight, resumed.model[1].weight)


@pytest.mark.thorough
def test_lightning_trains_with_two_processes(tmp_path: Path) -> None:
    example("lightning_trainer")
    if isinstance(sys.modules.get("torchvision"), mock.MagicMock):
        pytest.skip("the torchvision that is installed does not load beside this build of torch")
    command = [sys.executable, FOLDER / "lightning_trainer.py", "--devices", "2"]
    done = subprocess.run(
        [*command, "--out", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout


def test_a_process_of_several_trains_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ddp = example("ddp")
    monkeypatch.setattr(ddp, "keep_to_own_cores", lambda *_: None)
    ddp.train(0, 1, 1, tmp_path / "store", tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("epoch 1: loss") == printed.count("test accuracy") == 1
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.manual_seed(0)
    for name, value in ddp.build_model().named_parameters():
        assert state[name].isfinite().all()
        assert not torch.equal(state[name], value)
    for options, status in (["--help"], 0), (["--processes", "0"], 2):
        monkeypatch.setattr(sys, "argv", ["ddp.py", *options])
        with pytest.raises(SystemExit, match=str(status)):
            ddp.main()


@pytest.mark.thorough
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    example("ddp")
    printed = []
    for processes in "1", "2":
        command = [sys.executable, FOLDER / "ddp.py", "--processes", processes, "--epochs", "2"]
        done = subprocess.run(
            [*command, "--out", tmp_path], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert printed[0].count("loss") == 2


def test_workers_read_events_for_a_layer() -> None:
    loader = example("event_loader")
    short = [(torch.rand(n).sort().values, torch.randint(20, (n,)), n % 2) for n in (50, 70)]
    events, labels = loader.collate(short)
    assert events.time.shape == events.index.shape == (2, 128)
    assert events.time.isfinite().sum(-1).tolist() == [50, 70]
    assert labels.tolist() == [0, 0]
    assert loader.main(count=128, epochs=4, workers=1) > 0.6


def test_a_compiled_hybrid_learns() -> None:
    # What inductor makes of torch's part is not what is tested here, and takes long.
    assert example("compiled_hybrid").main(epochs=3, backend="aot_eager") > 0.4


def test_a_rule_of_optax_goes_on_where_it_stopped() -> None:
    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        whole, in_two = example("optax_rule").main(epochs=4)
    assert whole == in_two > 0.45


def test_a_pretrained_model_brings_its_constants(tmp_path: Path) -> None:
    before, after, said = example("pretrained").main(tmp_path)
    assert before == after
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    assert len(said) == 2
    assert "is of a layer with tau_mem=0.03, but this one has tau_mem=0.01" in said[0]


def test_metrics_count_silent_samples_as_wrong() -> None:
    metrics = example("metrics")
    silent = torch.full((1, 3, 1), torch.inf)
    assert metrics.answers(silent).tolist() == [3]
    found = metrics.main(epochs=2)
    confusion = found["confusion"]
    assert confusion.sum() == 320
    assert confusion[3].sum() == 0
    torch.testing.assert_close(confusion.trace() / 320, found["accuracy"], check_dtype=False)


def test_many_trials_share_what_was_compiled(compiled: list[str]) -> None:
    search = example("search")
    study, memory = search.main(trials=8)
    sizes = {trial.params["hidden"] for trial in study.trials}
    before = len(compiled)
    _, more = search.main(trials=8)
    assert sizes == set(search.SIZES)
    assert len(compiled) == before, "other numbers are no other programs"
    assert more[-1] - memory[-1] < 50
