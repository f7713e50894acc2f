"""Goal: a whole run ends with a verdict that is true for the engine, and leaves nothing behind.

Method: short real runs, seconds long: embedded PostgreSQL, the engine as a process, real sockets.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil
import pytest
from typer.testing import CliRunner

from tidelab.chaos.process import Processes
from tidelab.cli.app import app
from tidelab.core.check.verdict import Answer
from tidelab.core.driver import Frame, Reply
from tidelab.core.history.event import Disconnected, Invoked, Settled, Succeeded
from tidelab.core.history.truth import Committed, Table
from tidelab.driver.tidewire import TidewireDriver, TidewireSession
from tidelab.errors import EngineError, HistoryError
from tidelab.plan import FAULTS, Plan, check_faults, read_corpus
from tidelab.run import run

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(240)]

LAB = Path(__file__).resolve().parents[2]
CORPUS = read_corpus(LAB / "corpus")


@pytest.mark.parametrize("plan", CORPUS, ids=lambda plan: f"seed-{plan.seed}")
def test_what_was_found_once_does_not_come_back(plan: Plan, tmp_path: Path) -> None:
    outcome = run(plan, tmp_path)
    assert outcome.report.answer is not Answer.FALSE, outcome.document()["violations"]


def test_clients_come_and_go_and_are_told_the_truth(tmp_path: Path) -> None:
    plan = Plan(seed=1, clients=6, seconds=4, faults=("cuts", "half-open", "slow", "churn"))
    said: list[str] = []
    outcome = run(plan, tmp_path, said.append)
    assert outcome.report.answer is Answer.TRUE, outcome.document()["violations"]
    reasons = {event.reason for _, event in outcome.history.events(Disconnected)}
    assert "cut" in reasons
    assert any("transactions" in each for each in said)
    summary = json.loads((outcome.folder / "summary.json").read_text())
    assert (summary["answer"], summary["again"]) == ("true", plan.command())
    assert (tmp_path / "latest" / "history.jsonl").is_file()
    checked = CliRunner().invoke(app, ["check", "latest", "--runs", str(tmp_path)])
    assert checked.exit_code == 0, checked.output


def test_server_and_database_die_and_nobody_is_told_a_lie(tmp_path: Path) -> None:
    plan = Plan(seed=2, clients=5, seconds=9, faults=("kill", "pg-kill", "pg-stop", "cuts"))
    outcome = run(plan, tmp_path)
    assert outcome.report.answer is Answer.TRUE, outcome.document()["violations"]
    faults = {event.name for _, event in outcome.history.events(Invoked)}
    assert faults & {"kill", "pg-kill", "pg-stop"}
    assert len(list(outcome.history.events(Settled))) == 1
    assert any(event.lsn for _, event in outcome.history.events(Succeeded))


class Lossy(TidewireSession):
    """A session that never sees one commit in three."""

    commits = 0

    def receive(self, frame: Frame) -> Reply:
        self.commits += (is_commit := '"type":"commit"' in str(frame))
        return Reply() if is_commit and self.commits % 3 == 0 else super().receive(frame)


class LossyDriver(TidewireDriver):
    def session(self, client: str, tables: Mapping[str, Table]) -> TidewireSession:
        return Lossy(client, tables)


def test_a_commit_that_is_lost_on_the_way_is_noticed_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidelab.run.TidewireDriver", LossyDriver)
    # So many that each client loses some, however slow the machine is.
    plan = Plan(seed=3, clients=5, seconds=60, transactions=100, faults=())
    outcome = run(plan, tmp_path)
    verdicts = {verdict.checker: verdict for verdict in outcome.report.verdicts}
    assert verdicts["loss"].answer is Answer.FALSE
    assert verdicts["convergence"].answer is Answer.FALSE
    assert verdicts["loss"].violations[0].lsn in {
        event.lsn for _, event in outcome.history.events(Committed)
    }


def test_a_server_that_does_not_come_back_is_judged_false(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kill(self: Processes, fault: str, down_s: float) -> None:
        await self._engine.end(signal.SIGKILL)
        raise EngineError("the server did not start: it is gone for good")

    monkeypatch.setattr(Processes, "inflict", kill)
    outcome = run(Plan(seed=3, clients=3, seconds=30, faults=("kill",)), tmp_path)
    verdicts = {verdict.checker: verdict for verdict in outcome.report.verdicts}
    assert outcome.report.answer is Answer.FALSE
    assert "gone for good" in verdicts["assertion"].violations[0].text


def test_an_interrupted_run_ends_all_that_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidelab", "run", "--embedded", "--seconds", "60"]
    command += ["--folder", str(tmp_path), "--faults", "cuts"]
    path = os.pathsep.join([str(LAB), os.environ.get("PYTHONPATH", "")])
    lab = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/engine.log")) and time.monotonic() < deadline:
            time.sleep(0.1)  # why: the poll of a condition, under a deadline
        while len(children := psutil.Process(lab.pid).children(recursive=True)) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # why: the poll of a condition, under a deadline
        lab.send_signal(signal.SIGINT)
        _, errors = lab.communicate(timeout=60)
        assert lab.returncode == 130, errors
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
    finally:
        lab.kill()


def test_a_wrong_fault_is_named_with_the_right_ones() -> None:
    result = CliRunner().invoke(app, ["run", "--embedded", "--faults", "cuts,fire"])
    assert result.exit_code == 2
    assert check_faults("all") == FAULTS
    assert check_faults("none") == ()
    with pytest.raises(HistoryError, match=r"no fault 'fire'.*half-open"):
        check_faults("cuts,fire")


def test_the_help_names_every_fault() -> None:
    result = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "400"})
    told = result.output.partition("some of: ")[2].partition(". ")[0]
    assert tuple(told.split(", ")) == FAULTS


def test_a_run_without_a_database_says_what_is_missing() -> None:
    assert CliRunner().invoke(app, ["run"]).exit_code == 2


def test_a_plan_is_a_line_to_run_it_again_and_a_file(tmp_path: Path) -> None:
    plan = Plan(seed=7, transactions=50, faults=("kill",))
    assert plan.command() == (
        "tidelab run --embedded --seed 7 --clients 10 --transactions 50 --faults kill"
    )
    assert plan.patience_s == 0
    big = Plan(seed=7, seconds=5, faults=("big-transaction",), big_rows=200_000)
    assert big.command().endswith(" --seconds 5 --faults big-transaction --big-rows 200000")
    assert big.patience_s == 20, "they come, and go"
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(plan))
    assert read_corpus(tmp_path) == [plan]
    (tmp_path / "b.json").write_text('{"sed": 1}')
    with pytest.raises(HistoryError, match=r"b\.json is no plan"):
        read_corpus(tmp_path)
