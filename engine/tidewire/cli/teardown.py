"""`tidewire teardown`: leave nothing behind in the database."""

from __future__ import annotations

from tidewire.cli import options
from tidewire.cli.outcome import OK, run_async
from tidewire.config import Config


def teardown(
    *,
    database_url: options.DatabaseUrl = None,
    deployment: options.Deployment = None,
    config: options.ConfigFile = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
) -> int:
    """Drop the replication slot and the publication of a deployment.

    A slot keeps write-ahead log on disk for as long as it exists: run this when a deployment is
    not coming back. Stopping the server keeps both, so that it can take up where it left off.

    Example:

      tidewire teardown --database-url postgresql://app@localhost/app
    """
    loaded = options.load(
        config,
        database_url=database_url,
        deployment=deployment,
        log_level=log_level,
        log_format=log_format,
    )
    return run_async(lambda: _teardown(loaded))


async def _teardown(config: Config) -> int:
    from tidewire.postgres import slot
    from tidewire.postgres.database import Database

    config.check_database()
    database = Database(config.database_url)
    try:
        dropped = await slot.teardown(database, config.deployment)
    finally:
        await database.close()
    for name in dropped:
        print(f"dropped {name}")
    if not dropped:
        print(f"nothing to drop for deployment {config.deployment!r}")
    return OK
