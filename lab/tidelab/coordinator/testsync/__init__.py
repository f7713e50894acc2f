"""The TestSync server: two ports, one storage, and the sockets of all agents."""
