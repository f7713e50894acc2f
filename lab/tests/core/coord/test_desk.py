"""Goal: who is gone is told nothing. Method: a desk and two connections."""

from __future__ import annotations

from tidelab.core.coord.answer import Answer, Done, Dropped, Fault
from tidelab.core.coord.desk import Desk, Ticket


def test_an_answer_goes_to_its_request_and_stops_its_alarm() -> None:
    desk, ticket = Desk(), Ticket(1, "x")
    desk.open(1)
    desk.hold(ticket, lambda: None, 5.0, lambda now: None)
    assert desk.count(1) == 1
    desk.answer(ticket, Done())
    assert desk.take().messages == [(1, Answer(id="x", ok=Done()))]
    assert desk.take().messages == []
    assert (desk.count(1), len(desk.alarms)) == (0, 0)


def test_what_a_lost_connection_waits_for_is_dropped() -> None:
    desk, dropped = Desk(), []
    desk.open(1)
    desk.hold(Ticket(1, 1), lambda: dropped.append(1), 5.0, lambda now: None)
    quiet = Ticket(1, 2)
    desk.hold(quiet, lambda: None)
    quiet.drop = None
    desk.close(1)
    desk.close(1)
    desk.answer(quiet, Done())
    desk.push(1, Dropped("r"))
    assert (dropped, desk.count(1), desk.take().messages) == ([1], None, [])


def test_a_dismissed_connection_is_told_why() -> None:
    desk, fault = Desk(), Fault("dropped", "m")
    desk.open(1)
    for id in (1, 2):
        ticket = Ticket(1, id)
        desk.hold(ticket, lambda: None)
        ticket.drop = ticket.drop if id == 1 else None
    desk.refuse(1, fault)
    desk.refuse(7, fault)
    desk.dismiss(1, Dropped("r"))
    desk.push(1, Dropped("r"))
    effects = desk.take()
    assert effects.closes == [1]
    assert effects.messages[2:] == [(1, Dropped("r"))]
    assert {m.error for _, m in effects.messages[:2] if isinstance(m, Answer)} == {fault}
