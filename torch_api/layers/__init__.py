"""Layers of neurons as torch modules, and what they keep of their last forward."""
