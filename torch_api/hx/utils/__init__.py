"""What works on whole networks: weights of other models, NIR, calibrations."""
