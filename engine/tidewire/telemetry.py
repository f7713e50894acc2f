"""What the outside may measure: the only file that knows Prometheus, and the one logger tree."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Fields that a line of the log may carry beside its text; nothing else from `extra` is printed.
_LOG_FIELDS = ("connection", "client", "lsn")


# A client chooses its own name: it must not be able to write lines or colours into the log.
_CONTROL = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160), 0x2028, 0x2029)}


class Metrics:
    """The counters and gauges of one engine."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.transactions = self._counter("transactions", "Transactions read from the log.")
        self.rows = self._counter("rows", "Row messages read from the log.")
        self.replication_starts = self._counter(
            "replication_starts", "Times that the replication stream was started."
        )
        self.replication_failures = self._counter(
            "replication_failures", "Times that the replication stream broke."
        )
        self.connections_opened = self._counter("connections_opened", "WebSockets accepted.")
        self.connections_refused = self._counter("connections_refused", "WebSockets refused.")
        self.connections_closed = self._counter(
            "connections_closed", "WebSockets closed, by the reason of the close.", ("reason",)
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a figure that is read when somebody asks."""
        gauge = Gauge(f"tidewire_{name}", text, registry=self._registry)
        gauge.set_function(read)

    def exposition(self) -> bytes:
        """Write all figures in the text format of Prometheus."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"tidewire_{name}", text, labels, registry=self._registry)


def configure_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send the tree `tidewire` to one handler; other libraries speak only from warnings on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("tidewire").setLevel(level.upper())


def _known_fields(record: logging.LogRecord) -> Mapping[str, str]:
    return {name: str(getattr(record, name)) for name in _LOG_FIELDS if getattr(record, name, None)}


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        line = super().formatMessage(record)
        extra = " ".join(f"{name}={value}" for name, value in _known_fields(record).items())
        return (f"{line}  [{extra}]" if extra else line).translate(_CONTROL)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document: dict[str, str] = {
            "at": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
            **_known_fields(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)
