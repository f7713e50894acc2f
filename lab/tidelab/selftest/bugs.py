"""The bugs that the reference server can have, and the checker that is meant to kill each.

The one rule: a bug is one that somebody has had. Each breaks one promise; others may notice too.
"""

from __future__ import annotations

from enum import Enum
from random import Random


class Bug(Enum):
    """A switch: the checker that must notice, and what goes wrong."""

    DROPS_COMMIT = "loss", "now and then a commit is not sent"
    SKIPS_ONE_ON_RESUME = "loss", "a client that comes back misses the next commit (> for >=)"
    MISSES_MOVE_IN = "loss", "a row that an update brings into a shape is not told"
    HIDES_RESET = "loss", "a client that fell off the log goes on without a reset"
    DROPS_ROW_UNDER_LOAD = "loss", "of a commit with many rows the last one is not sent"
    DELIVERS_TWICE = "duplicate", "now and then a commit is sent twice"
    REPEATS_LAST_ON_RESUME = "duplicate", "a client that comes back gets its last commit again"
    REPEATS_CHUNK = "duplicate", "a chunk of a copy is sent twice"
    STAGES_WHAT_COPY_HAS = "duplicate", "a commit that the snapshot saw is applied once more"
    REORDERS_COMMITS = "order", "two commits change places"
    DELAYS_ONE_TABLE = "order", "commits of one table come one commit late"
    GOES_BACK_ON_RESUME = "position", "a client that comes back is put behind where it was"
    CLAIMS_OLD_POSITION = "position", "up to date is said of an older position than before"
    SPLITS_TRANSACTION = "atomicity", "a commit comes in two pieces, each shown at once"
    TEARS_SUBSCRIPTIONS = "atomicity", "each subscription gets its part of a commit by itself"
    LOSES_TAIL = "gap", "commits between snapshot and joining are not staged"
    FORGETS_UNSEEN_COMMIT = "gap", "a commit streamed before the snapshot could see it is lost"
    LOSES_CHUNK = "gap", "a chunk of a copy is not sent"
    SHOWS_COPY_EARLY = "gap", "a copy is shown before its commits have been staged"
    SERVES_OLD_COPY = "gap", "a copy made for somebody else is served without what came since"
    LEAKS_ROW = "leak", "rows outside the condition are sent when they change"
    WRONG_TENANT_ON_RESUME = "leak", "a client that comes back gets another condition"
    COPIES_WHOLE_TABLE = "leak", "a copy forgets the condition"
    KEEPS_MOVED_OUT = "ghost", "a row that leaves the condition is not taken out"
    FORGETS_DELETES = "ghost", "deletes are not told"
    KEY_CHANGE_AS_INSERT = "ghost", "a row with a new key comes, the one with the old key stays"
    IGNORES_TRUNCATE = "ghost", "a truncate is not told"
    SENDS_STALE_VALUES = "origin", "an update carries the values from before it"
    NULLS_UNTOUCHED = "origin", "a large value that was not touched is sent as NULL"
    INVENTS_COMMIT = "origin", "a commit is told at a position where there is none"
    TELLS_COPY_AS_LIVE = "origin", "commits are told as live to a copy that is not"
    CLAIMS_TOO_EARLY = "up_to_date", "up to date is said while commits are still to be sent"
    FORGETS_SUBSCRIPTION = "arrival", "one subscription does not survive a reconnect"
    FALLS_SILENT = "arrival", "after a reconnect nothing comes any more"
    NEVER_ENDS_COPY = "arrival", "a copy is sent and never becomes live"
    DOES_NOTHING = "arrival", "a server that takes connections and says nothing"
    AGREES_TO_ALL = "gap", "a server that calls everybody up to date and sends no rows"

    @property
    def killer(self) -> str:
        """Name the checker that must notice."""
        return self.value[0]

    @property
    def story(self) -> str:
        """Say what goes wrong."""
        return self.value[1]

    @property
    def label(self) -> str:
        """Write the name for people."""
        return self.name.lower()


class Faults:
    """The bugs that are switched on, and the dice that say when they strike."""

    def __init__(self, bugs: frozenset[Bug], random: Random) -> None:
        self._bugs = bugs
        self._random = random

    def has(self, bug: Bug) -> bool:
        """Tell whether a bug is switched on."""
        return bug in self._bugs

    def strikes(self, bug: Bug, chance: float = 0.2) -> bool:
        """Tell whether a bug strikes now; no dice are thrown for a bug that is off."""
        return bug in self._bugs and self._random.random() < chance
