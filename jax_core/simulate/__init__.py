"""What neurons do: event-driven simulation in continuous time."""
