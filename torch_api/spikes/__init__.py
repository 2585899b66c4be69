"""Values to spikes, spikes to values, and noise on spikes."""
