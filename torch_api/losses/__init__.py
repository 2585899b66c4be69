"""Losses as torch modules."""
