"""Agents of a test, and how they meet: state machines without sockets and clocks."""
