"""Goal: old files work, and a wrong one says all that is wrong. Method: files as bytes."""

from __future__ import annotations

import json

import pytest

from tidelab.core.coord.testsync.configuration import Configuration, read_configuration
from tidelab.core.coord.testsync.credentials import Credentials
from tidelab.errors import ConfigurationError


def read(**settings: object) -> Configuration:
    return read_configuration(json.dumps(settings).encode())


def test_an_old_file_is_read_as_it_is() -> None:
    found = read(
        http_port=1,
        ws_port=2,
        logging={"level": "DEBUG", "dir": "logs"},
        sync_client={"username": "a", "password": "b"},
        storage={"type": "sqlite", "sqlite_path": "./x.db"},
    )
    assert found == Configuration(
        host="127.0.0.1",
        http_port=1,
        ws_port=2,
        credentials=Credentials("a", "b"),
        sqlite_path="./x.db",
        log_level="DEBUG",
        log_dir="logs",
    )
    assert found.warnings == ()


def test_what_is_missing_or_null_or_empty_has_a_default() -> None:
    empty: dict[str, object] = {"logging": {"level": "", "dir": None}, "storage": None}
    assert read() == read(**empty, http_port=None) == Configuration()
    assert read(storage={"type": "sqlite"}).sqlite_path == "testsync.db"


def test_keys_have_no_case_and_a_byte_order_mark_is_no_fault() -> None:
    text = b'\xef\xbb\xbf{"HTTP_Port": 5, "Logging": {"LEVEL": "warn"}}'
    assert read_configuration(text) == Configuration(http_port=5, log_level="WARN")


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"prot": 1}, "the key prot is not known"),
        ({"http_prot": 1}, "the key http_prot is not known; is http_port meant?"),
        ({"storage": {"path": 1}}, "the key storage.path is not known"),
        ({"storage": {"type": "redis"}}, "storage.type 'redis' is not known: data are kept in mem"),
        ({"logging": {"level": "LOUD"}}, "logging.level 'LOUD' is not known: INFO"),
        ({"host": "0.0.0.0"}, "everybody who reaches 0.0.0.0 may take part"),
    ],
)
def test_what_is_odd_is_a_warning(settings: dict[str, object], warning: str) -> None:
    found = read(**settings)
    assert len(found.warnings) == 1
    assert warning in found.warnings[0]
    assert (found.sqlite_path, found.log_level) == (None, "INFO")


def test_with_credentials_any_host_will_do() -> None:
    found = read(host="0.0.0.0", sync_client={"username": "a", "password": "b"})
    assert found.warnings == ()


@pytest.mark.parametrize("port", [-1, 65536, "9104", 1.5, True, [], 10**30])
def test_a_port_is_a_number(port: object) -> None:
    with pytest.raises(ConfigurationError, match="http_port must be a number"):
        read(http_port=port)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        read(ws_port="x", logging=[], sync_client={"username": 5}, storage={"type": 1})
    for fault in (
        "ws_port must be a number",
        "logging must be an object",
        "sync_client.username must be a string",
        "storage.type must be a string",
    ):
        assert fault in str(told.value)


def test_two_ports_are_two() -> None:
    with pytest.raises(ConfigurationError, match="must differ, both are 7"):
        read(http_port=7, ws_port=7)
    assert read(http_port=0, ws_port=0).ws_port == 0


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"a":' + b"[" * 100_000])
def test_what_is_no_object_is_no_configuration(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="must be a JSON object"):
        read_configuration(text)
