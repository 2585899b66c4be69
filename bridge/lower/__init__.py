"""Torch code as JAX programs: captured as a graph of operators, each of which becomes JAX."""
