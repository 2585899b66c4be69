"""One neuron: its constants, its motion between events, and where it crosses the threshold."""
