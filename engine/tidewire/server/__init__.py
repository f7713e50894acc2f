"""Sockets and HTTP: what clients reach."""
