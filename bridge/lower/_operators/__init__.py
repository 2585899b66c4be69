"""What each operator of torch is in JAX, by kind."""
