"""How a command ends: a verdict or one clear line, and an exit code."""

from __future__ import annotations

import json
import sys

from tidelab.core.check.verdict import Answer
from tidelab.errors import LabError

PASSED, FAILED, UNKNOWN, INTERRUPTED = 0, 1, 2, 130

EXIT_CODES = {Answer.TRUE: PASSED, Answer.FALSE: FAILED, Answer.UNKNOWN: UNKNOWN}


def complain(error: LabError) -> int:
    """Print an error as one line; what could not be judged is unknown."""
    print(f"tidelab: {' '.join(str(error).split())}", file=sys.stderr)
    return UNKNOWN


def print_json(document: object) -> None:
    """Print what a program will read."""
    print(json.dumps(document, indent=2, default=str))
