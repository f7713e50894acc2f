"""Who came to a barrier and who did not: as values for programs, and in words for people.

The one rule: names are cut where they are many, numbers never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidelab.core.coord.agents import Agents
from tidelab.core.coord.answer import BarrierLine, Roll
from tidelab.core.coord.barrier import Barrier, Meeting
from tidelab.core.coord.stuck import Need
from tidelab.limits import COORD_NAMES_SHOWN_MAX, COORD_STUCK_SHOWN_MAX

_IN_A_SENTENCE = 10  # names of one kind: the lists have more of them


def call(barrier: Barrier, meeting: Meeting, agents: Agents, now: float) -> Roll:
    """Call the roll of a meeting."""
    arrived, roster = meeting.arrived, meeting.terms.roster
    missing = sorted((agents.living if roster is None else roster).difference(arrived))
    gone = [agent for name in agents.gone if (agent := agents.get(name)) is not None]
    if roster is None:
        dead = sorted(agent.name for agent in gone if agent.since >= meeting.since)
    else:
        dead = sorted(agent.name for agent in gone if agent.name in roster)
        missing = [name for name in missing if name not in agents.gone]
    shown = COORD_NAMES_SHOWN_MAX
    named = [*list(arrived)[:shown], *missing[:shown], *dead[:shown]]
    return Roll(
        barrier=barrier.name,
        generation=barrier.decided + 1,
        needed=meeting.terms.full,
        arrived_count=len(arrived),
        arrived=tuple(arrived)[:shown],
        missing_count=meeting.terms.full - len(arrived),
        missing=tuple(missing[:shown]),
        dead=tuple(dead[:shown]),
        doing={name: _story(name, agents, now) for name in named},
    )


def line_of(barrier: Barrier, agents: Agents, now: float) -> BarrierLine:
    """Describe a barrier: how it ended last, and who waits there."""
    last, meeting = barrier.outcomes.get(barrier.decided), barrier.meeting
    ended = None
    if last is not None:
        ended = "released" if last.fault is None else last.fault.code
    roll = None if meeting is None else call(barrier, meeting, agents, now)
    since_ms = None if meeting is None else round(meeting.since * 1000)
    return BarrierLine(barrier.name, barrier.decided, ended, roll, since_ms)


def words_of(roll: Roll) -> str:
    """Say a roll in one sentence."""
    parts = [f"{roll.arrived_count} of {roll.needed} arrived"]
    parts[0] += f" ({', '.join(roll.arrived[:_IN_A_SENTENCE])})" if roll.arrived else ""
    for word, names in (("missing", roll.missing), ("gone", roll.dead)):
        if names:
            told = (f"{name} ({roll.doing[name]})" for name in names[:_IN_A_SENTENCE])
            parts.append(f"{word}: {', '.join(told)}")
    return "; ".join(parts)


def knot_of(stuck: Sequence[str], needs: Mapping[str, Need]) -> str:
    """Say who waits for whom at barriers that wait for each other."""
    told = []
    for name in stuck[:COORD_STUCK_SHOWN_MAX]:
        need = needs[name]
        waiting = ", ".join(sorted(need.waiting)[:_IN_A_SENTENCE])
        able = ", ".join(sorted(need.able - need.waiting)[:_IN_A_SENTENCE])
        told.append(f"at {name} {waiting} wait for {able}")
    if (more := len(stuck) - len(told)) > 0:
        told.append(f"and {more} more")
    return "; ".join(told)


def _story(name: str, agents: Agents, now: float) -> str:
    agent = agents.get(name)
    return "was never here" if agent is None else agent.story(now)
