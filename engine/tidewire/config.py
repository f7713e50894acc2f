"""Settings: flags beat `TIDEWIRE_*` variables, which beat `tidewire.toml`, which beats defaults."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tidewire import limits
from tidewire.errors import ConfigError

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
_DEPLOYMENT = re.compile(r"[a-z0-9_]{1,32}")
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")
ENVIRONMENT_PREFIX = "TIDEWIRE_"
DEFAULT_FILE = Path("tidewire.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set; `load` makes one from flags, environment and file.

    Raises ConfigError when a value cannot be right.
    """

    database_url: str = field(default="", repr=False)
    """PostgreSQL, as URL or key=value pairs; its role needs REPLICATION."""
    listen: str = "127.0.0.1:8800"
    """HOST:PORT of the server; port 0 lets the system choose."""
    dev: bool = False
    """No tokens asked for; only on a loopback address."""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """Bearer tokens that are let in."""
    allowed_hosts: tuple[str, ...] = ()
    """Values of the Host header beside loopback names, IP addresses and the listen address."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages beside the same host and localhost, as https://app.example.org."""
    tls_certificate: str = ""
    """PEM file; with `tls_key` the server speaks TLS."""
    tls_key: str = ""
    """PEM file of the private key."""
    deployment: str = "default"
    """Nodes with the same name share one slot and one publication."""
    tables: tuple[str, ...] = ()
    """Tables that clients may follow; empty: any table, published when first asked for."""
    connections_max: int = limits.CONNECTIONS
    """Further connections are answered 503."""
    wal_bytes_max: int = limits.WAL_BYTES
    """Log that PostgreSQL may keep for us: beyond it all clients start over, not the disk."""
    hibernate_after_s: int = limits.HIBERNATE_AFTER_S
    """Without clients for so long nothing is open to the database; 0: never sleep."""
    spool_dir: str = ""
    """Where large transactions go; empty: the system's temporary directory."""
    log_level: LogLevel = "info"
    """How much is logged."""
    log_format: LogFormat = "text"
    """For people or for machines."""

    def check_complete(self) -> None:
        """Make sure that nothing is missing that a server needs.

        Raises ConfigError.
        """
        self.check_database()
        if not self.dev and not self.tokens:
            raise ConfigError(
                "no tokens: set TIDEWIRE_TOKENS to one or more secrets of 16 characters or more, "
                "or use --dev on a loopback address"
            )

    def check_database(self) -> None:
        """Make sure that there is a database to go to.

        Raises ConfigError.
        """
        if not self.database_url:
            raise ConfigError("no database URL: give --database-url or TIDEWIRE_DATABASE_URL")

    def __post_init__(self) -> None:
        host, port = self.address
        if port > 65535:
            raise ConfigError(f"listen: port {port} is above 65535")
        if self.dev and not is_loopback(host):
            raise ConfigError(
                f"--dev lets everybody in and so listens on loopback only, not on {host}; "
                "set a token instead: TIDEWIRE_TOKENS"
            )
        if not _DEPLOYMENT.fullmatch(self.deployment):
            raise ConfigError(
                f"deployment: {self.deployment!r} should be 1 to 32 of the characters a-z 0-9 _"
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("tls: certificate and key go together")
        if any(len(token) < 16 for token in self.tokens):
            raise ConfigError("tokens: each should have 16 characters or more")
        if self.connections_max < 1:
            raise ConfigError("connections_max: should be 1 or more")
        if self.wal_bytes_max < limits.WAL_BYTES_SMALLEST:
            raise ConfigError(f"wal_bytes_max: should be {limits.WAL_BYTES_SMALLEST} or more")
        if self.hibernate_after_s < 0:
            raise ConfigError("hibernate_after_s: should be 0 (never) or more")
        _check_choice("log_level", self.log_level, get_args(LogLevel))
        _check_choice("log_format", self.log_format, get_args(LogFormat))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        match = _LISTEN.fullmatch(self.listen)
        if match is None:
            raise ConfigError(f"listen: {self.listen!r} is not HOST:PORT, such as 127.0.0.1:8800")
        return match["v6"] or match["host"], int(match["port"])


def is_loopback(host: str) -> bool:
    """Tell whether a host name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None
) -> Config:
    """Merge flags (None: not given), environment and file into a Config.

    A file that was named must be there; without a name `tidewire.toml` is read if it is there.

    Raises ConfigError for unknown names, values of the wrong type, or a file that is not TOML.
    """
    values: dict[str, object] = {}
    path = file or DEFAULT_FILE
    if file is not None or path.is_file():
        values.update(_read_file(path))
    values.update(_read_environment(environ))
    values.update({name: value for name, value in flags.items() if value is not None})
    return Config(**cast("dict[str, Any]", values))  # every value was converted to its field's type


def _read_file(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    known = {f.name for f in fields(Config)}
    for name in document:
        if name not in known:
            raise ConfigError(f"{path}: unknown name {name!r}; known: {', '.join(sorted(known))}")
    return {name: _from_file(path, name, value) for name, value in document.items()}


def _from_file(path: Path, name: str, value: object) -> object:
    default = getattr(Config(), name)
    if isinstance(default, tuple) and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type(value) is type(default):
        return value
    kind = "a list of texts" if isinstance(default, tuple) else type(default).__name__
    raise ConfigError(f"{path}: {name} should be {kind}")


def _read_environment(environ: Mapping[str, str]) -> dict[str, object]:
    found = {}
    for spec in fields(Config):
        text = environ.get(ENVIRONMENT_PREFIX + spec.name.upper())
        if text is not None:
            found[spec.name] = _from_text(ENVIRONMENT_PREFIX + spec.name.upper(), spec.name, text)
    return found


def _from_text(variable: str, name: str, text: str) -> object:
    default = getattr(Config(), name)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, bool):
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise ConfigError(f"{variable}: {text!r} is neither true nor false")
    if isinstance(default, int):
        if not text.isdecimal():
            raise ConfigError(f"{variable}: {text!r} is not a whole number")
        return int(text)
    return text


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(choices)}")
