"""Run the command line by `python -m tidelab`."""

from __future__ import annotations

from tidelab.cli import main

main()
