"""All faults but those of single connections: their names, and who inflicts which."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from tidelab.chaos.database import DATABASE_FAULTS, Database
from tidelab.chaos.disk import DISK_FAULTS, Disk
from tidelab.chaos.lull import LULL_FAULTS, Lull
from tidelab.chaos.neighbour import NEIGHBOUR_FAULTS, Neighbour
from tidelab.chaos.nemesis import Inflicts
from tidelab.chaos.process import PROCESS_FAULTS, Processes
from tidelab.chaos.slot import SLOT_FAULTS, Thief
from tidelab.env.engine import EngineProcess
from tidelab.fleet.fleet import Fleet
from tidelab.fleet.recorder import Recorder

CHAOS_FAULTS = (
    *PROCESS_FAULTS,
    *DATABASE_FAULTS,
    *DISK_FAULTS,
    *NEIGHBOUR_FAULTS,
    *LULL_FAULTS,
    *SLOT_FAULTS,
)


def enemies(
    faults: Collection[str],
    url: str,
    engine: EngineProcess,
    processes: Processes,
    fleet: Fleet,
    writing: asyncio.Event,
    recorder: Recorder,
    *,
    seed: int,
    big_rows: int | None,
) -> dict[str, Inflicts]:
    """Say for each of these faults who inflicts it; writers write while `writing` is set."""
    database = Database(url, recorder, stir=fleet.stir, seed=seed, big_rows=big_rows)
    disk = Disk(engine, database, fleet, recorder, seed=seed)
    lull = Lull(engine, fleet, writing, recorder, seed=seed)
    neighbour = Neighbour(url, engine, lull, recorder, seed=seed)
    thief = Thief(url, engine, recorder, seed=seed)
    found: dict[str, Inflicts] = {
        **dict.fromkeys(PROCESS_FAULTS, processes),
        **dict.fromkeys(DATABASE_FAULTS, database),
        **dict.fromkeys(DISK_FAULTS, disk),
        **dict.fromkeys(NEIGHBOUR_FAULTS, neighbour),
        **dict.fromkeys(LULL_FAULTS, lull),
        **dict.fromkeys(SLOT_FAULTS, thief),
    }
    return {name: enemy for name, enemy in found.items() if name in faults}
