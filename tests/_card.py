"""What tests on a GPU need: a card that both torch and JAX can use."""

import jax
import pytest
import torch

CARD = "cuda"


def _has_card() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        return bool(jax.devices(CARD))
    except RuntimeError:
        return False


marks = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _has_card(), reason="no CUDA device that both torch and JAX can use"),
    pytest.mark.filterwarnings("ignore:JAX has reserved most:UserWarning"),
]
