"""Run a PostgreSQL server of our own, for demos, examples and tests.

The one rule: what we did not start we do not stop, and what we did not make we do not change.

A data directory that Tidewire made looks like this::

    data_dir/
    ├── tidewire.password   mode 0600, written first: it marks the directory as ours
    ├── tidewire.log        what the server said
    └── cluster/            PostgreSQL's own directory (`cluster.new` while initdb runs)

The process that uses it holds a lock (`flock`) on the directory, which the kernel takes back
however the process ends. Together with `cluster/postmaster.pid` the lock tells what to do::

    lock    postmaster                 start()
    held    any                        ConfigError: another process uses the directory
    free    alive, started by us       its owner was killed: stop it cleanly, then start
    free    alive, started by others   ConfigError
    free    gone                       start; PostgreSQL recovers by itself

A server left behind is stopped and not adopted: the new caller may want other settings, another
port or other programs. PostgreSQL's record of its last start, `postmaster.opts`, says whose it is.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import psycopg

from tidewire.errors import ConfigError, DatabaseGone, DatabaseRefused
from tidewire.postgres.binaries import (
    Account,
    Binaries,
    disown_pid_file,
    find_binaries,
    free_port,
    is_serving,
    kill_tree,
    last_words,
    pid_file_lines,
    shut_down,
    temporary_parents,
    wait_until,
)

HOST = "127.0.0.1"
USER = DATABASE = "tidewire"
PASSWORD_FILE = "tidewire.password"  # noqa: S105 -- a name of a file
TEMPORARY_PREFIX = "tidewire-temporary-"
OUR_MARK = "cluster_name=tidewire"
PORT_TAKEN = "could not create any TCP/IP sockets"
CHILDREN_REMAIN = "shared memory block"

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
PORT_ATTEMPTS_MAX = 5

# Loopback TCP only: the wheels are built without TLS, and a socket file needs a short path.
BASE_SETTINGS: Mapping[str, str] = {
    "cluster_name": "tidewire",
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "shared_buffers": "64MB",
}

StopMode = Literal["smart", "fast", "immediate"]

# Each mode, and the harder ones that follow when it takes too long; SIGKILL comes after them.
STOP_SIGNALS: Mapping[str, tuple[signal.Signals, ...]] = {
    "smart": (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT),
    "fast": (signal.SIGINT, signal.SIGQUIT),
    "immediate": (signal.SIGQUIT,),
}


class EmbeddedPostgres:
    """Manage one PostgreSQL server of our own; as a context manager, start and stop it.

    With `data_dir` the data stays there; without it, a temporary directory is removed at stop
    and at the end of the process. `settings` become `-c name=value` and win over ours. Methods
    block and are for one thread at a time: from async code call them by `asyncio.to_thread`.
    `start` sets `data_dir`, `port` and `version` (18, for example); the port then stays the same.
    """

    data_dir: Path
    port: int
    version: int

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int | None = None,
        binaries: Path | None = None,
        settings: Mapping[str, str] = {},
    ) -> None:
        if "port" in settings:
            raise ConfigError("settings cannot hold 'port': pass it as port=")
        self._given = data_dir
        self._fixed_port = port
        self._explicit_binaries = binaries
        self._settings = {**BASE_SETTINGS, **settings}
        self._binaries: Binaries | None = None
        self._directory: _DataDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""
        self._owner_pid = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Tell whether the server that we started still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Return the process id of the postmaster."""
        assert self._process is not None, "start() comes first"
        return self._process.pid

    @property
    def url(self) -> str:
        """Return the connection URL, password included: do not log it."""
        return f"postgresql://{USER}:{quote(self._password)}@{HOST}:{self.port}/{DATABASE}"

    @property
    def psql_command(self) -> str:
        """Return a line that a person can paste into a shell; it holds the password, too."""
        assert self._binaries is not None, "start() comes first"
        psql = self._binaries.directory / "psql"
        return shlex.join([str(psql) if psql.exists() else "psql", self.url])

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the server and return when it answers; do nothing when it runs already.

        Raises:
            ConfigError: the directory is not ours, in use or of another version; the port is taken.
            DatabaseRefused: there are no programs, or PostgreSQL gave a reason not to start.
            DatabaseGone: it was not ready in time.
        """
        if self.is_running:
            return
        claimed = self._directory is None
        try:
            self._prepare()
            self._launch(time.monotonic() + timeout_s)
            self._ensure_database()
        except BaseException:
            self.kill()
            if claimed:
                self._release()
            raise

    def stop(self, mode: StopMode = "fast", *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the server, harder after each `timeout_s`; a temporary directory is removed."""
        self._stop_process(mode, timeout_s)
        # A forked child ends through here, too, but server and directory are not the child's.
        if os.getpid() == self._owner_pid:
            self._release()

    def restart(self, mode: StopMode = "fast", *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop and start the server on the same data, with the same port and password."""
        self._stop_process(mode, timeout_s)
        self.start()

    def kill(self) -> None:
        """Kill the postmaster and all its children with SIGKILL; `start` then recovers the data."""
        if self.is_running:
            kill_tree(self.pid)
            wait_until(lambda: not self.is_running, STOP_TIMEOUT_S)

    def _prepare(self) -> None:
        self._binaries = self._binaries or find_binaries(self._explicit_binaries)
        if self._directory is None:
            _remove_left_behind(self._binaries)
            path = _make_directory(self._given, self._binaries.account)
            self._directory = _DataDirectory(path, self._binaries, temporary=self._given is None)
            self._owner_pid = os.getpid()
            atexit.register(self.stop)
        self._directory.make_ready()
        self.data_dir = self._directory.path
        self.version = self._binaries.version
        self._password = self._directory.password

    def _launch(self, deadline: float) -> None:
        """Try until the server is ready; go on only after failures that pass by themselves."""
        attempts = PORT_ATTEMPTS_MAX if self._fixed_port is None else 1
        while attempts > 0:
            self.port = self._fixed_port or free_port()
            failure = self._try_launch(deadline)
            if failure is None:
                self._fixed_port = self.port
                return
            if PORT_TAKEN in failure:
                attempts -= 1
            # The children of a killed postmaster see its death a moment later, and leave.
            elif CHILDREN_REMAIN not in failure or time.monotonic() > deadline:
                raise DatabaseRefused(f"PostgreSQL did not start: {failure}")
        raise ConfigError(f"port {self.port} of {HOST} is taken: choose another")

    def _try_launch(self, deadline: float) -> str | None:
        """Start the postmaster; return None when it is ready, else why it ended."""
        assert self._directory is not None, "_prepare() comes first"
        directory, settings = self._directory, {**self._settings, "port": str(self.port)}
        log_path = directory.path / "tidewire.log"
        log_path.touch(mode=0o600)
        with log_path.open("ab") as log:
            begin = log.tell()
            self._process = process = directory.binaries.launch(directory.cluster, settings, log)
        is_ready = partial(directory.is_ready, process.pid)
        wait_until(lambda: process.poll() is not None or is_ready(), deadline - time.monotonic())
        if process.poll() is None and is_ready():
            return None
        words = last_words(log_path.read_bytes()[begin:].decode(errors="replace"))
        if process.poll() is None:
            raise DatabaseGone(f"PostgreSQL was not ready in time: {words}")
        return words

    def _ensure_database(self) -> None:
        url = f"{self.url.removesuffix(DATABASE)}template1?sslmode=disable&connect_timeout=30"
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                found = "SELECT FROM pg_database WHERE datname = %s"
                if connection.execute(found, [DATABASE]).fetchone() is None:
                    # initdb's empty `postgres` gets our name: a copy would take 0.3 s instead.
                    connection.execute(f"ALTER DATABASE postgres RENAME TO {DATABASE}".encode())
        except psycopg.Error as error:
            raise DatabaseRefused(f"PostgreSQL refused us: {last_words(str(error))}") from None

    def _stop_process(self, mode: str, timeout_s: float) -> None:
        if mode not in STOP_SIGNALS:
            raise ConfigError(f"unknown stop mode {mode!r}: use one of {', '.join(STOP_SIGNALS)}")
        if self.is_running:  # never in a forked child: it is not the parent of the server
            shut_down(self.pid, STOP_SIGNALS[mode], lambda: not self.is_running, timeout_s)

    def _release(self) -> None:
        atexit.unregister(self.stop)
        if self._directory is not None:
            self._directory.release()
            self._directory = None


class _DataDirectory:
    """Hold one data directory, locked for this process, and the cluster in it."""

    def __init__(self, path: Path, binaries: Binaries, *, temporary: bool) -> None:
        self.path = path
        self.cluster = path / "cluster"
        self.is_temporary = temporary
        self.binaries = binaries
        self._lock = _lock(path)
        try:
            self._check()
            self.password = _read_or_make_password(path / PASSWORD_FILE, binaries.account)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Remove a temporary directory, then give the lock back."""
        if self.is_temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def make_ready(self) -> None:
        """Make the cluster if there is none, and clear what a killed server left behind."""
        if not self.cluster.exists():
            self._initialise()
        version = _version_of(self.cluster)
        if version != str(self.binaries.version):
            raise ConfigError(
                f"{self.path} holds PostgreSQL {version}, programs are {self.binaries.version}: "
                f"choose another directory, or pass binaries= of {version}"
            )
        self.stop_left_behind()

    def is_ready(self, pid: int) -> bool:
        """Tell whether the postmaster `pid` accepts connections; its pid file says so."""
        lines = pid_file_lines(self.cluster)
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def stop_left_behind(self) -> None:
        """Stop the server of a process that was killed; make a pid file without server harmless."""
        lines = pid_file_lines(self.cluster)
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        if is_serving(pid, self.cluster):
            if OUR_MARK not in (self.cluster / "postmaster.opts").read_text():
                problem = f"{self.path} is served by a PostgreSQL that Tidewire did not start"
                raise ConfigError(f"{problem} (pid {pid}): stop it first")
            signals = STOP_SIGNALS["fast"]
            shut_down(pid, signals, lambda: not is_serving(pid, self.cluster), STOP_TIMEOUT_S)
        disown_pid_file(self.cluster)

    def _check(self) -> None:
        strangers = {entry.name for entry in self.path.iterdir()} - {"lost+found"}
        if strangers and not (self.path / PASSWORD_FILE).exists():
            problem = f"{self.path} is not empty and not made by Tidewire (no {PASSWORD_FILE})"
            raise ConfigError(f"{problem}: choose an empty directory")
        account = self.binaries.account
        if not account.can_enter(self.path):
            problem = f"{account.name}, which runs PostgreSQL, cannot enter {self.path}"
            raise ConfigError(f"{problem}: choose one below /var/tmp, or run as another user")

    def _initialise(self) -> None:
        # Beside the final name, so that an interrupted initdb leaves no broken cluster.
        half = self.path / "cluster.new"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        self.binaries.account.take(half)
        password_file = self.path / PASSWORD_FILE
        self.binaries.make_cluster(half, USER, password_file, sync=not self.is_temporary)
        half.rename(self.cluster)
        os.fsync(self._lock)


def _make_directory(given: Path | None, account: Account) -> Path:
    if given is None:
        return account.make_temporary(TEMPORARY_PREFIX)
    try:
        if not given.exists():
            given.mkdir(parents=True)
            given.chmod(0o755)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {given}: {error}") from error
    return given.resolve()


def _remove_left_behind(binaries: Binaries) -> None:
    """Stop and remove temporary servers whose process was killed, so that they do not pile up."""
    for path in chain(*(at.glob(f"{TEMPORARY_PREFIX}*") for at in temporary_parents())):
        with contextlib.suppress(ConfigError, OSError):
            # The password is written under the lock: without it, the directory is being made.
            if path.lstat().st_uid == os.geteuid() and (path / PASSWORD_FILE).exists():
                directory = _DataDirectory(path, binaries, temporary=False)
                try:
                    directory.stop_left_behind()
                    directory.is_temporary = True  # only a stopped one is removed
                finally:
                    directory.release()


def _lock(path: Path) -> int:
    """Lock the directory itself: no lock file can be left behind by a killed process."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"{path} cannot be a data directory: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        pid = next(iter(pid_file_lines(path / "cluster")), "not started yet")
        raise ConfigError(f"{path} is in use by another process (PostgreSQL: pid {pid})") from error
    return handle


def _read_or_make_password(file: Path, account: Account) -> str:
    """Return the password; it is only in this file, in the URL, and as a hash in the cluster."""
    try:
        # A process killed between creation and writing leaves an empty file.
        if not file.exists() or file.stat().st_size == 0:
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
            account.take(file)
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file} cannot be used: {error.strerror}") from error


def _version_of(cluster: Path) -> str:
    try:
        return (cluster / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise ConfigError(f"{cluster} is not a cluster any more: {error.strerror}") from error
