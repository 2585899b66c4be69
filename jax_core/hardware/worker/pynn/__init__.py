"""Networks on PyNN simulators."""
