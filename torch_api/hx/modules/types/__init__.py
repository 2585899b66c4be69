"""Bases of modules by what they are in a network."""
