"""The pure middle: values in, values out; no clock, no socket, no randomness."""
