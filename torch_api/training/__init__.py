"""What helps a network to learn: initialisation, silent neurons, learning rates, penalties."""
