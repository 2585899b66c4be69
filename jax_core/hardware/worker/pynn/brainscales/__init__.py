"""The BrainScaleS-2 chip through ``pynn_brainscales``."""
