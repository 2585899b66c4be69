"""Leaky integrators and what is read off them."""
