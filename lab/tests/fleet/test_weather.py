"""Goal: the weather is repeatable, and nothing comes that was not asked for. Method: many skies."""

from __future__ import annotations

from random import Random

from tidelab.fleet.weather import CLIENT_FAULTS, Sky, Weather


def skies(seed: int, *faults: str) -> list[Sky]:
    weather = Weather(Random(seed), faults)
    return [weather.next_sky() for _ in range(200)]


def test_a_seed_is_a_weather() -> None:
    assert skies(1, *CLIENT_FAULTS) == skies(1, *CLIENT_FAULTS)
    assert skies(1, *CLIENT_FAULTS) != skies(2, *CLIENT_FAULTS)


def test_without_faults_nothing_ends_pauses_or_waits() -> None:
    for sky in skies(1):
        ends = (sky.end_after_frames, sky.pause_every_frames, sky.churn_every_frames)
        assert (ends, sky.ack_late_by_frames) == ((None, None, None), 0)


def test_each_fault_comes_alone_and_does_come() -> None:
    assert {sky.ending for sky in skies(1, "cuts") if sky.end_after_frames} == {"cut"}
    assert {sky.ending for sky in skies(1, "half-open") if sky.end_after_frames} == {"half-open"}
    assert any(sky.pause_every_frames for sky in skies(1, "slow"))
    assert any(sky.ack_late_by_frames for sky in skies(1, "late-acks"))
    assert all(sky.churn_every_frames for sky in skies(1, "churn"))


def test_connections_end_early_and_late() -> None:
    ends = {sky.end_after_frames for sky in skies(1, "cuts")}
    assert {None, 1, 400} <= ends
