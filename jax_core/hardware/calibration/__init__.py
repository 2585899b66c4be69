"""Measuring the deviations of a chip, and correcting them."""
