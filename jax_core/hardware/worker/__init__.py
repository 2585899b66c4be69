"""The contract between evtorch and hardware, and both sides of a connection that keeps it."""
