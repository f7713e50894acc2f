"""Goal: what old clients rely on stays. Method: their numbers, written down once more."""

from __future__ import annotations

from tidelab.core.coord.testsync import limits


def test_old_clients_find_the_bounds_they_know() -> None:
    assert limits.POST_BYTES_MAX == 10_485_760
    assert limits.UPDATE_BYTES_MAX >= 12 * 1024 * 1024, "an update that was seen to pass"
    assert limits.START_DELAY_MS == 500
    assert limits.PING_S == limits.REQUEST_S == 10
    assert limits.RETENTION_S == 43_200
