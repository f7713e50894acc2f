"""What goes over a WebSocket: frames, their encoding, error and close codes."""
