"""Goal: alarms ring in order and once. Method: numbers as times."""

from __future__ import annotations

from tidelab.core.coord.alarms import Alarms


def test_alarms_ring_in_order_and_only_when_due() -> None:
    rang: list[tuple[str, float]] = []
    alarms = Alarms()
    alarms.set(3.0, lambda now: rang.append(("late", now)))
    alarms.set(1.0, lambda now: rang.append(("early", now)))
    assert alarms.next() == 1.0
    alarms.ring(2.0)
    assert rang == [("early", 2.0)]
    alarms.ring(3.0)
    assert [name for name, _ in rang] == ["early", "late"]
    assert alarms.next() is None


def test_a_cancelled_alarm_is_silent_and_cancelling_again_is_nothing() -> None:
    alarms = Alarms()
    rang: list[float] = []
    alarm = alarms.set(1.0, rang.append)
    for _ in range(2):
        alarms.cancel(alarm)
    alarms.cancel(None)
    alarms.ring(2.0)
    assert (len(alarms), rang) == (0, [])


def test_many_cancelled_alarms_do_not_stay() -> None:
    alarms = Alarms()
    kept = alarms.set(1e6, lambda now: None)
    for each in [alarms.set(1e5 + n, lambda now: None) for n in range(1_000)]:
        alarms.cancel(each)
    assert len(alarms) == 1
    assert len(alarms._heap) < 100, "cancelled alarms hold memory"
    assert kept.ring is not None
    assert alarms.next() == 1e6


def test_an_alarm_may_set_another() -> None:
    rang: list[float] = []
    alarms = Alarms()

    def ring(now: float) -> None:
        alarms.set(1.5, rang.append)

    alarms.set(1.0, ring)
    alarms.ring(2.0)
    assert rang == [2.0]
