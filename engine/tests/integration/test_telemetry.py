"""What the outside may measure, and how lines of the log look.

Method: lines go to a stream of our own and are read back; figures are read by Prometheus' parser.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tidewire.telemetry import Metrics, configure_logging

LEVELS = ("debug", "info", "warning", "error")
NAMES = ("", "tidewire", "tidewire.websocket", "tidewire.test", "elsewhere")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give a stream for the log and undo afterwards what `configure_logging` does."""
    handlers = list(logging.getLogger().handlers)
    levels = {name: logging.getLogger(name).level for name in NAMES}
    yield io.StringIO()
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {s.name: s.value for family in families for s in family.samples}


def test_counters_count_and_gauges_are_read_when_asked() -> None:
    metrics, load = Metrics(), [1.0]
    metrics.gauge("load", "How much.", lambda: load[0])
    metrics.rows.inc(5)
    metrics.connections_closed.labels("normal").inc()
    load[0] = 2.5
    found = samples(metrics)
    assert found["tidewire_rows_total"] == 5
    assert found["tidewire_connections_closed_total"] == 1
    assert found["tidewire_load"] == 2.5


def test_two_nodes_of_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.rows.inc()
    assert samples(other)["tidewire_rows_total"] == 0


def test_a_line_of_text(stream: io.StringIO) -> None:
    configure_logging("info", "text", stream)
    logging.getLogger("tidewire.test").info(
        "%d commits", 3, extra={"lsn": "0/1", "connection": "c"}
    )
    logging.getLogger("tidewire.test").warning("plain")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    3 commits  \[connection=c lsn=0/1\]", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING plain", second)


def test_a_line_of_json(stream: io.StringIO) -> None:
    configure_logging("info", "json", stream)
    logging.getLogger("tidewire.test").info('a "line"\n of %s', "two", extra={"client": "é\n"})
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document.pop("at"))
    assert document == {
        "level": "info",
        "logger": "tidewire.test",
        "text": 'a "line"\n of two',
        "client": "é\n",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_told(form: str, stream: io.StringIO) -> None:
    configure_logging("info", form, stream)
    try:
        {"a": 1}["nobody home"]
    except LookupError:
        logging.getLogger("tidewire.test").exception("it broke")
    assert "it broke" in stream.getvalue()
    assert "KeyError: 'nobody home'" in stream.getvalue()
    if form == "json":
        assert "KeyError" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_only_known_fields_are_printed(form: str, stream: io.StringIO) -> None:
    configure_logging("info", form, stream)
    extra = {"token": "secret", "row": "secret", "client": "", "connection": "c"}
    logging.getLogger("tidewire.test").info("hello", extra=extra)
    assert "secret" not in stream.getvalue()
    assert "client" not in stream.getvalue()
    assert "connection" in stream.getvalue()


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_lets_through_what_is_as_grave(level: str, stream: io.StringIO) -> None:
    configure_logging(level, "json", stream)
    for name in LEVELS:
        logging.getLogger("tidewire.test").log(logging.getLevelName(name.upper()), name)
    heard = [json.loads(line)["text"] for line in stream.getvalue().splitlines()]
    assert heard == list(LEVELS[LEVELS.index(level) :])


def test_other_libraries_speak_from_warnings_on(stream: io.StringIO) -> None:
    configure_logging("debug", "json", stream)
    for name in ("elsewhere", "tidewire.websocket"):
        logging.getLogger(name).debug("whole frames")
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    heard = [json.loads(line)["text"] for line in stream.getvalue().splitlines()]
    assert heard == ["trouble", "trouble"]


def test_configuring_again_replaces_the_handler(stream: io.StringIO) -> None:
    former = io.StringIO()
    configure_logging("info", "text", former)
    configure_logging("info", "json", stream)
    logging.getLogger("tidewire.test").info("once")
    assert len(stream.getvalue().splitlines()) == 1
    assert former.getvalue() == ""
