"""One connection as a state machine, for both of its ends."""
