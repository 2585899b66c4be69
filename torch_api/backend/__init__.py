"""Runs layers on hardware: what layers, whole models and experiments share."""
