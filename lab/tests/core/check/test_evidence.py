"""Goal: truth first, then the clients.

Method: an oracle that is slower than a client, or missing.
"""

from __future__ import annotations

import pytest

from lab.tests.core.scene import BEGIN, FIRST, Scene, inserted
from tidelab.core.check.evidence import Evidence
from tidelab.core.history.event import Invoked
from tidelab.core.history.history import History, Journal
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Baseline, Fenced
from tidelab.errors import OracleError


def test_a_client_may_be_quicker_than_the_oracle() -> None:
    scene = Scene(FIRST)
    scene.live()
    scene.put(110, "2", "red", "1")
    seq = scene.commit(110, inserted("2", "red", "1"))
    (trace,) = scene.evidence.traces
    assert trace.spans[0].compared == 2
    assert not trace.spans[0].mismatches
    assert scene.evidence.named(Lsn(110)) == f"commit 0/6E (#{seq})"
    assert scene.evidence.named(Lsn(111)) == "commit 0/6F"


def test_who_never_connected_is_no_client() -> None:
    scene = Scene(FIRST)
    scene.tell(Invoked(1, "write"), client="writer")
    assert scene.evidence.traces == []


def test_without_a_baseline_there_is_no_truth() -> None:
    journal = Journal()
    journal.record("oracle", Fenced(Lsn(5)))
    for history in (History(()), journal.history):
        with pytest.raises(OracleError, match="no baseline"):
            _ = Evidence(history).oracle


def test_two_baselines_are_one_too_many() -> None:
    scene = Scene(FIRST)
    scene.journal.record("oracle", Baseline(BEGIN, ()))
    with pytest.raises(OracleError, match="one baseline"):
        _ = scene.evidence.oracle


def test_proof_is_sorted_and_without_holes() -> None:
    assert Scene().evidence.proof(5, None, 3, 5) == (3, 5)
