"""Can this server serve us at all? The engine refuses to start where this finds a problem."""

from __future__ import annotations

from collections.abc import Iterator

from tidewire.core.diagnosis.facts import Server, Settings
from tidewire.core.diagnosis.finding import Finding, note, ok, problem, warning

VERSION_OLDEST = 140000
VERSION_NEWEST = 189999
"""Up to here the tests run."""


def judge_version(server: Server) -> Finding:
    """Judge the version; of one that is too old nothing else is asked."""
    major = server.version // 10000
    if server.version < VERSION_OLDEST:
        text = f"PostgreSQL {major} is too old: 14 or newer is needed"
        return problem("version", text, note("upgrade the server with pg_upgrade"))
    if server.version > VERSION_NEWEST:
        text = f"PostgreSQL {major} is newer than the newest version that is tested, 18"
        return warning("version", text, note("look for a newer Tidewire"))
    return ok("version", f"PostgreSQL {major}")


def judge_server(server: Server, settings: Settings | None = None) -> Iterator[Finding]:
    """Judge what must be right before anything works; the settings make for a better remedy."""
    yield judge_version(server)
    yield _wal_level(server, settings)
    yield _replication(server)
    yield _create(server)
    yield _standby(server)
    yield _encoding(server)


def set_parameter(
    settings: Settings | None, name: str, value: str, *, restart: bool = False
) -> list[str]:
    """Say how to change a setting of the server."""
    if settings is not None and name in settings.on_command_line:
        return [note(f"{name} was given when PostgreSQL was started: there, say -c {name}={value}")]
    after = [note("then restart PostgreSQL")] if restart else ["SELECT pg_reload_conf();"]
    return [f"ALTER SYSTEM SET {name} = {value};", *after]


def _wal_level(server: Server, settings: Settings | None) -> Finding:
    if server.wal_level == "logical":
        return ok("wal_level", "logical")
    remedy = set_parameter(settings, "wal_level", "logical", restart=True)
    return problem("wal_level", f"wal_level is {server.wal_level}, logical is needed", *remedy)


def _replication(server: Server) -> Finding:
    if server.may_replicate:
        return ok("role_replication", f"role {server.role} may replicate")
    text = f"role {server.role} may not replicate"
    return problem("role_replication", text, f"ALTER ROLE {server.role} REPLICATION;")


def _create(server: Server) -> Finding:
    if server.may_create:
        return ok("database_create", f"role {server.role} may make a publication")
    grant = f"GRANT CREATE ON DATABASE {server.database} TO {server.role};"
    return problem("database_create", f"role {server.role} may not make a publication", grant)


def _standby(server: Server) -> Finding:
    if not server.is_standby:
        return ok("standby", "the server is a primary")
    remedy = note("SELECT * FROM pg_stat_wal_receiver names it, for a superuser")
    return problem("standby", "this server is a standby: connect to the primary", remedy)


def _encoding(server: Server) -> Finding:
    if server.encoding != "SQL_ASCII":
        return ok("encoding", server.encoding)
    return problem(
        "encoding",
        "the database's encoding is SQL_ASCII, which promises nothing about its texts",
        "CREATE DATABASE in_utf8 TEMPLATE template0 ENCODING 'UTF8';",
        note("then move the data with pg_dump and psql, and use that database"),
    )
