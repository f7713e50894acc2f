"""`python -m tidewire` is the command line."""

from tidewire.cli import main

main()
