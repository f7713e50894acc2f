"""Run a command with a PostgreSQL server of its own: `python examples/with_postgres.py COMMAND`.

The command finds its database in DATABASE_URL and TIDEWIRE_DATABASE_URL, and tokens turned off.
When the command ends the database is gone, with its data.
"""

import contextlib
import os
import signal
import subprocess
import sys

from tidewire.embedded import EmbeddedPostgres


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    with EmbeddedPostgres() as server:
        print("database", server.url, flush=True)
        settings = {"DATABASE_URL": server.url, "TIDEWIRE_DATABASE_URL": server.url}
        environ = {**os.environ, **settings, "TIDEWIRE_DEV": "1"}
        with subprocess.Popen(sys.argv[1:], env=environ) as command:
            signal.signal(signal.SIGTERM, lambda *_: command.terminate())
            with contextlib.suppress(KeyboardInterrupt):  # the command has heard it, too
                return command.wait()
            return command.wait()


if __name__ == "__main__":
    raise SystemExit(main())
