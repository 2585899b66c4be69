"""A training step of a torch model as one XLA program."""
