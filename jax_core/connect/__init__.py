"""Which inputs act on which neurons, and layers that are connected so."""
