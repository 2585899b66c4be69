#!/bin/sh
# On a machine with an NVIDIA card: the tests marked gpu, then benchmarks/gpu.py. Eight minutes.
#
#     sh benchmarks/gpu.sh [options of gpu.py]
#
# PYTHON chooses the interpreter, which needs evtorch[test], a CUDA build of torch and jax[cuda13].
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
# torch needs some of the card's memory, too.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
"$PYTHON" -m pytest -q -m gpu tests/bridge/test_gpu.py tests/torch_api/test_gpu.py
exec "$PYTHON" benchmarks/gpu.py "$@"
