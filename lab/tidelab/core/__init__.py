"""What the lab decides, as values: no event loop, file, socket, clock or chance."""
