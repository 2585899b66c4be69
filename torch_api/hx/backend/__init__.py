"""What an experiment knows of its network."""
