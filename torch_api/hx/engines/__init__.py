"""How the calls of an experiment are computed."""
