"""A software model of the BrainScaleS-2 chip."""
