"""`tidewire serve`: run a node."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource

from tidewire import limits
from tidewire.cli import options
from tidewire.cli.outcome import OK, run_async
from tidewire.config import Config

_log = logging.getLogger("tidewire.serve")


def serve(
    *,
    database_url: options.DatabaseUrl = None,
    listen: options.Listen = None,
    dev: options.Dev = None,
    table: options.Tables = None,
    allow_host: options.Hosts = None,
    allow_origin: options.Origins = None,
    tls_certificate: options.Certificate = None,
    tls_key: options.Key = None,
    deployment: options.Deployment = None,
    config: options.ConfigFile = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
) -> int:
    """Follow a database and serve its changes.

    Tokens are set with TIDEWIRE_TOKENS (or in the settings file), never as a flag, because flags
    can be read by everybody on the machine.

    Examples:

      tidewire serve --dev --database-url postgresql://app@localhost/app

      TIDEWIRE_TOKENS=$(openssl rand -hex 16) tidewire serve --listen 0.0.0.0:8800
    """
    loaded = options.load(
        config,
        database_url=database_url,
        listen=listen,
        dev=dev,
        tables=table,
        allowed_hosts=allow_host,
        allowed_origins=allow_origin,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        deployment=deployment,
        log_level=log_level,
        log_format=log_format,
    )
    return run_async(lambda: _serve(loaded))


async def _serve(config: Config) -> int:
    from tidewire.engine import Engine

    files = config.connections_max + limits.SPARE_FILES
    allowed = _allow_files(files)
    async with Engine(config):
        if allowed < files:
            _log.warning(
                "the system allows %d open files, all connections may need %d: raise that limit"
                " (ulimit -Hn, or LimitNOFILE= of a systemd unit), or lower connections_max",
                allowed,
                files,
            )
        # Modules and tables live as long as the process: a collection that walks them all stops
        # every client for tens of milliseconds, and finds nothing.
        gc.collect()
        gc.freeze()
        await asyncio.Event().wait()
    return OK


def _allow_files(count: int) -> int:
    """Let this process open so many files, if it may; return how many it may open.

    A connection is a file, and most shells allow 1 024.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= count:
        return count
    allowed = count if most == resource.RLIM_INFINITY else min(count, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return allowed
