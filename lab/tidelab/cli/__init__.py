"""The command line: one file per verb.

Exit codes: 0 passed, 1 failed, 2 unknown (nothing to judge, a history or database that cannot be
read, wrong usage), 130 interrupted.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit."""
    from tidelab.cli.app import app

    app()
