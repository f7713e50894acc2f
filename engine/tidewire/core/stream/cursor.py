"""Where a reader stands in the history of one database."""

from __future__ import annotations

import msgspec

from tidewire.core.model.lsn import Lsn


class Cursor(msgspec.Struct, frozen=True):
    """All commits that end at or below `lsn` have been seen.

    `epoch` names the history; `tag` names the last commit at or below `lsn`, so that a server can
    tell its own history from another one that happens to have the same positions (a restored
    backup, a lost asynchronous commit). A tag of "" means that no commit is known.
    """

    epoch: str
    lsn: Lsn
    tag: str
