"""Settings: where they come from, which wins, and what each wrong one is answered.

Method: flags, an environment and a file are handed in; nothing of this machine is read.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tidewire import limits
from tidewire.config import Config, is_loopback, load
from tidewire.errors import ConfigError

TOKEN = "0123456789abcdef"
VALUES = {
    "database_url": "postgresql://app@db/app",
    "listen": "[::1]:0",
    "dev": True,
    "tokens": (TOKEN, TOKEN + "2"),
    "allowed_hosts": ("a.example", "b.example"),
    "allowed_origins": ("https://a.example",),
    "tls_certificate": "certificate.pem",
    "tls_key": "key.pem",
    "deployment": "blue_2",
    "tables": ("orders", "sales.items"),
    "connections_max": 7,
    "hibernate_after_s": 5,
    "wal_bytes_max": 100_000_000,
    "spool_dir": "/tmp",
    "log_level": "debug",
    "log_format": "json",
}


@pytest.fixture(autouse=True)
def _no_file_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return " , ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def write(path: Path, **values: object) -> Path:
    path.write_text("".join(f"{name} = {as_toml(value)}\n" for name, value in values.items()))
    return path


def test_every_setting_has_a_value_in_this_test() -> None:
    assert set(VALUES) == {field.name for field in fields(Config)}


def test_defaults_are_safe() -> None:
    config = load({}, {})
    assert config == Config()
    assert config.address == ("127.0.0.1", 8800)
    assert not config.dev
    assert config.tokens == ()
    assert config.connections_max == limits.CONNECTIONS


def test_every_setting_comes_from_each_place(tmp_path: Path) -> None:
    wanted = Config(**VALUES)  # type: ignore[arg-type]
    environment = {f"TIDEWIRE_{name.upper()}": as_text(value) for name, value in VALUES.items()}
    assert load(VALUES, {}) == wanted
    assert load({}, environment) == wanted
    assert load({}, {}, write(tmp_path / "settings.toml", **VALUES)) == wanted


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "settings.toml", listen="127.0.0.1:1", deployment="file", dev=True)
    environment = {"TIDEWIRE_LISTEN": "127.0.0.1:2", "TIDEWIRE_DEPLOYMENT": "variable"}
    config = load({"listen": "127.0.0.1:3", "deployment": None, "dev": None}, environment, file)
    assert (config.listen, config.deployment, config.dev) == ("127.0.0.1:3", "variable", True)
    assert not load({"dev": False}, {}, file).dev
    assert not load({}, {"TIDEWIRE_DEV": "0"}, file).dev


def test_the_file_of_the_folder_is_read_if_it_is_there(tmp_path: Path) -> None:
    assert load({}, {}).deployment == "default"
    write(tmp_path / "tidewire.toml", deployment="folder")
    assert load({}, {}).deployment == "folder"
    assert load({}, {}, write(tmp_path / "named.toml", deployment="named")).deployment == "named"


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_a_variable_says_yes(text: str) -> None:
    assert load({}, {"TIDEWIRE_DEV": text}).dev


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF", ""])
def test_a_variable_says_no(text: str) -> None:
    assert not load({}, {"TIDEWIRE_DEV": text}).dev


def test_lists_in_variables_are_split_at_commas() -> None:
    environment = {"TIDEWIRE_TABLES": " a, b.c ,,", "TIDEWIRE_TOKENS": ""}
    config = load({}, environment)
    assert (config.tables, config.tokens) == (("a", "b.c"), ())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"listen": "8800"}, "listen: '8800' is not HOST:PORT, such as 127.0.0.1:8800"),
        ({"listen": "localhost"}, "listen: 'localhost' is not HOST:PORT"),
        ({"listen": ":8800"}, "listen: ':8800' is not HOST:PORT"),
        ({"listen": "::1:8800"}, "listen: '::1:8800' is not HOST:PORT"),
        ({"listen": "localhost:http"}, "listen: 'localhost:http' is not HOST:PORT"),
        ({"listen": "localhost:65536"}, "listen: port 65536 is above 65535"),
        ({"dev": True, "listen": "0.0.0.0:8800"}, "on loopback only, not on 0.0.0.0"),
        ({"dev": True, "listen": "[::]:8800"}, "on loopback only, not on ::"),
        ({"dev": True, "listen": "example.org:8800"}, "on loopback only, not on example.org"),
        (
            {"deployment": "Blue"},
            "deployment: 'Blue' should be 1 to 32 of the characters a-z 0-9 _",
        ),
        ({"deployment": ""}, "deployment: '' should be 1 to 32"),
        ({"deployment": "a" * 33}, "should be 1 to 32"),
        ({"tls_certificate": "a.pem"}, "tls: certificate and key go together"),
        ({"tls_key": "a.pem"}, "tls: certificate and key go together"),
        ({"tokens": (TOKEN, "short")}, "tokens: each should have 16 characters or more"),
        ({"connections_max": 0}, "connections_max: should be 1 or more"),
        ({"hibernate_after_s": -1}, "hibernate_after_s: should be 0 (never) or more"),
        ({"wal_bytes_max": 2**26 - 1}, "wal_bytes_max: should be 67108864 or more"),
        ({"log_level": "loud"}, "log_level: 'loud' is not one of debug, info, warning, error"),
        ({"log_format": "xml"}, "log_format: 'xml' is not one of text, json"),
    ],
)
def test_a_flag_is_wrong(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(flags, {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("DEV", "maybe", "TIDEWIRE_DEV: 'maybe' is neither true nor false"),
        ("CONNECTIONS_MAX", "many", "TIDEWIRE_CONNECTIONS_MAX: 'many' is not a whole number"),
        ("CONNECTIONS_MAX", "-1", "TIDEWIRE_CONNECTIONS_MAX: '-1' is not a whole number"),
        ("CONNECTIONS_MAX", "", "TIDEWIRE_CONNECTIONS_MAX: '' is not a whole number"),
        ("LOG_LEVEL", "INFO", "log_level: 'INFO' is not one of debug, info, warning, error"),
        ("TOKENS", "short", "tokens: each should have 16 characters or more"),
    ],
)
def test_a_variable_is_wrong(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load({}, {f"TIDEWIRE_{name}": text})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("port = 8800", "unknown name 'port'; known: allowed_hosts, allowed_origins, "),
        ("listen = 8800", "listen should be str"),
        ("dev = 1", "dev should be bool"),
        ("connections_max = true", "connections_max should be int"),
        ("connections_max = 1.5", "connections_max should be int"),
        ('tokens = "0123456789abcdef"', "tokens should be a list of texts"),
        ("tables = [1]", "tables should be a list of texts"),
        ("listen = ", "Invalid value"),
        ("[listen]", "listen should be str"),
    ],
)
def test_a_file_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: .*{re.escape(message)}"):
        load({}, {}, file)


def test_a_file_that_was_named_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: .*No such file"):
        load({}, {}, tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load({}, {}, tmp_path)


def test_a_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"settings\.toml: .*utf-8"):
        load({}, {}, tmp_path / "settings.toml")


def test_no_message_repeats_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    for content in ('tokens = "pa55word"', 'tokens = ["pa55word"]', 'tokens = ["pa55word'):
        file.write_text(content)
        with pytest.raises(ConfigError) as caught:
            load({}, {}, file)
        assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_a_host_is_only_this_machine(host: str, verdict: bool) -> None:
    assert is_loopback(host) is verdict
