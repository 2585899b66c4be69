"""Layers of neurons as differentiable functions."""
