"""Gradients of spikes: by EventProp, and by Fast & Deep."""
