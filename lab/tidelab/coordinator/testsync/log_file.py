"""Where a server writes what happens: `test-sync.log` in the configured folder, or stderr.

Neither data nor credentials are ever written down.
"""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tidelab.core.coord.testsync.configuration import Configuration
from tidelab.core.coord.testsync.limits import LOG_FILE_BYTES_MAX, LOG_FILES_KEPT

FILE = "test-sync.log"
_LEVELS = {"WARN": "WARNING"}


def open_log(configuration: Configuration) -> None:
    """Direct the log of this process; an unusable folder is a warning, and stderr is used."""
    path = Path(configuration.log_dir) / FILE
    fault = None
    try:
        handler: logging.Handler = RotatingFileHandler(
            path, maxBytes=LOG_FILE_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        handler, fault = logging.StreamHandler(), error
    level = _LEVELS.get(configuration.log_level, configuration.log_level)
    logging.basicConfig(
        level=logging.WARNING,
        handlers=[handler],
        format="%(asctime)s %(levelname)s %(message)s",
        force=True,
    )
    logging.getLogger("tidelab").setLevel(level)
    # What strangers send is no concern of the operator's; what breaks down is.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    log = logging.getLogger("tidelab.testsync")
    for warning in configuration.warnings:
        log.warning("%s", warning)
    if fault is not None:
        log.warning("%s cannot be written, this is used instead: %s", path, fault)
