"""Populations of neurons."""
