"""The command line: one file per verb.

Exit codes: 0 done, 1 the check or request failed, 2 wrong usage or setting, 3 PostgreSQL refused or
is not there, 130 interrupted. `doctor` and `status` answer 0 yes, 1 no, 2 could not look.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit."""
    from tidewire.cli.app import app

    app()
