"""Spike times, events and rasters, and the way from one to the other."""
