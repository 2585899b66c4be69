"""Modules of experiments."""
