"""The settings of a TestSync server, as `configuration.json` has them.

The original's files are read as they are. A key that nobody knows is a warning, because such a file
has worked before; a value that cannot be meant is an error, and all errors are told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidelab.core.coord.testsync.credentials import NOBODY_IS_ASKED, Credentials
from tidelab.errors import ConfigurationError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PORTS = range(65536)
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "": ("host", "http_port", "ws_port", "logging", "sync_client", "storage"),
    "logging": ("level", "dir"),
    "sync_client": ("username", "password"),
    "storage": ("type", "sqlite_path"),
}
_Section = dict[str, object]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Where to listen, who may take part, and where data are kept."""

    host: str = "127.0.0.1"
    http_port: int = 9104
    ws_port: int = 9105
    credentials: Credentials = NOBODY_IS_ASKED
    sqlite_path: str | None = None  # nothing: data are kept in memory
    log_level: str = "INFO"
    log_dir: str = "."
    noticed: tuple[str, ...] = field(default=(), compare=False)
    """What is strange in the file."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever starts the server should know; judged by the host that it is now."""
        if not self.credentials.is_open or self.host in LOOPBACK:
            return self.noticed
        told = f"everybody who reaches {self.host} may take part as a client of TestSync"
        return (*self.noticed, f"{told}: set sync_client.username and password")


DEFAULTS = Configuration()


def read_configuration(text: bytes) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: it is no JSON object, or a value cannot be meant.
    """
    try:
        document = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"it must be a JSON object: {error}") from None
    reader = _Reader(document)
    configuration = reader.read()
    if reader.faults:
        raise ConfigurationError("; ".join(reader.faults))
    return configuration


class _Reader:
    """Takes a document apart and notes what is wrong with it."""

    def __init__(self, document: _Section) -> None:
        self.faults: list[str] = []
        self.noticed: list[str] = []
        top = self._fold("", document)
        self._sections = {name: self._section(name, top) for name in _KEYS if name}
        self._sections[""] = top

    def read(self) -> Configuration:
        credentials = Credentials(
            self._string("sync_client", "username"), self._string("sync_client", "password")
        )
        return Configuration(
            host=self._string("", "host") or DEFAULTS.host,
            http_port=(http_port := self._port("http_port", DEFAULTS.http_port)),
            ws_port=self._ws_port(http_port),
            credentials=credentials,
            sqlite_path=self._sqlite_path(),
            log_level=self._level(),
            log_dir=self._string("logging", "dir") or DEFAULTS.log_dir,
            noticed=tuple(self.noticed),
        )

    def _ws_port(self, http_port: int) -> int:
        port = self._port("ws_port", DEFAULTS.ws_port)
        if port == http_port != 0:
            self.faults.append(f"http_port and ws_port must differ, both are {port}")
        return port

    def _sqlite_path(self) -> str | None:
        kind = self._string("storage", "type") or "memory"
        path = self._string("storage", "sqlite_path") or "testsync.db"
        if kind not in ("memory", "sqlite"):
            self.noticed.append(
                f'storage.type {kind!r} is not known: data are kept in memory; known: "memory", '
                '"sqlite"'
            )
        return path if kind == "sqlite" else None

    def _level(self) -> str:
        level = self._string("logging", "level") or DEFAULTS.log_level
        if level.upper() not in LEVELS:
            known = ", ".join(LEVELS)
            self.noticed.append(f"logging.level {level!r} is not known: INFO; known: {known}")
            return DEFAULTS.log_level
        return level.upper()

    def _section(self, name: str, top: _Section) -> _Section:
        value = top.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.faults.append(f"{name} must be an object")
            return {}
        return self._fold(name, value)

    def _fold(self, section: str, document: Mapping[str, object]) -> _Section:
        folded = {key.casefold(): value for key, value in document.items()}
        for key in folded.keys() - set(_KEYS[section]):
            near = difflib.get_close_matches(key, _KEYS[section], 1)
            hint = f"; is {near[0]} meant?" if near else ""
            self.noticed.append(f"the key {_dotted(section, key)} is not known{hint}")
        return folded

    def _string(self, section: str, key: str) -> str:
        value = self._sections[section].get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.faults.append(f"{_dotted(section, key)} must be a string")
        return ""

    def _port(self, key: str, default: int) -> int:
        value = self._sections[""].get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value not in _PORTS:
            self.faults.append(f"{key} must be a number from 0 (any free port) to 65535")
            return default
        return value


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key
