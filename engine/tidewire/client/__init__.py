"""The Python client's shell: a socket around `core.session.client`."""
