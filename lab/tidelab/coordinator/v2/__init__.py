"""The protocol of the coordinator, version 2, as one ASGI application."""
