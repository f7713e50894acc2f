"""Clients of TestSync, unchanged: two ports, the data of tests, and the sockets of all agents."""
