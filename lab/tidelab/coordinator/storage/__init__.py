"""Where the coordinator keeps what outlives it."""
