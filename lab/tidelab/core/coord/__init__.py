"""Coordination of test agents as a state machine: time comes in, answers and writes go out."""
