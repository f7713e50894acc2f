"""Where a server writes what happens: `test-sync.log` in the configured folder, or stderr.

Neither data nor credentials are ever written down.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tidelab.core.coord.testsync.configuration import Configuration
from tidelab.core.coord.testsync.limits import LOG_FILE_BYTES_MAX, LOG_FILES_KEPT

FILE = "test-sync.log"
_FORM = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


@contextlib.contextmanager
def logging_to_file(configuration: Configuration) -> Iterator[None]:
    """Write the log of this process; into a folder that cannot be used, to stderr."""
    path = Path(configuration.log_dir) / FILE
    fault = None
    try:
        handler: logging.Handler = RotatingFileHandler(
            path, maxBytes=LOG_FILE_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        handler, fault = logging.StreamHandler(), error
    handler.setFormatter(_FORM)
    logging.getLogger().addHandler(handler)
    log = logging.getLogger("tidelab.testsync")
    log.setLevel(configuration.log_level)
    for warning in configuration.warnings:
        log.warning("%s", warning)
    if fault is not None:
        log.warning("%s cannot be written, this is used instead: %s", path, fault)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
