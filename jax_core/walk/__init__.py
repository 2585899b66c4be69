"""The state of neurons at given times."""
