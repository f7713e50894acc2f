"""Goal: the commands say what they found and end with its exit code. Method: run the typer app."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tidelab import __version__
from tidelab.cli.app import app
from tidelab.core.history.event import Connected
from tidelab.core.history.history import History, Journal
from tidelab.selftest.bugs import Bug
from tidelab.selftest.matrix import FalseAlarm, Matrix, Mutant
from tidelab.selftest.play import play
from tidelab.store.run import RunFolder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def keep(base: Path, history: History, run_id: str = "one") -> None:
    with RunFolder(base, run_id) as folder:
        for record in history.records:
            folder.write(record)


def test_sentences_of_the_help_flow_to_the_width_of_the_terminal() -> None:
    for command in (["run"], ["check"], ["selftest"], ["doctor"], ["agents", "serve"]):
        lines = [line.strip() for line in run(*command, "--help").stdout.splitlines()]
        broken = [
            line for line, next_ in itertools.pairwise(lines)
            if line and next_ and line[0] not in "│╭╰─" and len(line) + len(next_.split()[0]) < 70
        ]  # fmt: skip
        assert broken == [], "lines of 80 columns end although the next word had room"


def test_a_good_run_passes(tmp_path: Path) -> None:
    keep(tmp_path, play(1))
    result = run("check", "one", "--runs", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("true")


def test_a_bad_run_fails_and_shows_the_proof(tmp_path: Path) -> None:
    keep(tmp_path, play(1, frozenset({Bug.DROPS_COMMIT})))
    result = run("check", "--runs", str(tmp_path))
    assert result.exit_code == 1
    assert "has never heard of it" in " ".join(result.output.split())
    assert " oracle: Committed(" in result.output


def test_a_run_without_data_is_unknown(tmp_path: Path) -> None:
    journal = Journal()
    journal.record("c", Connected())
    keep(tmp_path, journal.history)
    result = run("check", "--runs", str(tmp_path), "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["answer"] == "unknown"


def test_a_verdict_can_be_read_by_programs(tmp_path: Path) -> None:
    keep(tmp_path, play(1, frozenset({Bug.DROPS_COMMIT})))
    found = json.loads(run("check", "latest", "--runs", str(tmp_path), "--json").stdout)
    loss = next(v for v in found["verdicts"] if v["checker"] == "loss")
    assert (found["answer"], loss["answer"]) == ("false", "false")
    assert set(loss["violations"][0]) == {"text", "lsn", "proof"}


def test_a_run_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    result = run("check", "nothing", "--runs", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == f"tidelab: there is no run 'nothing'; {tmp_path} has none\n"


def test_the_selftest_prints_the_kill_matrix() -> None:
    result = run("selftest", "--runs", "1", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["mutants"] == found["killed"] == len(Bug) >= 12
    assert found["false_alarms"] == 0
    assert found["matrix"]["drops_commit"]["alarms"]["loss"] > 0


@pytest.mark.parametrize(("is_killed", "code"), [(True, 0), (False, 1)])
def test_the_selftest_tells_of_survivors(
    monkeypatch: pytest.MonkeyPatch, is_killed: bool, code: int
) -> None:
    alarms = () if is_killed else (FalseAlarm(7, ("loss: false",)),)
    mutants = (Mutant(Bug.DROPS_COMMIT, {"loss": 5} if is_killed else {}, 0),)
    matrix = Matrix(3, alarms, mutants)
    monkeypatch.setattr("tidelab.selftest.matrix.run_selftest", lambda _runs, _tell: matrix)
    result = run("selftest")
    assert result.exit_code == code
    assert ("survived: drops_commit" in result.output) is not is_killed
    assert ("false alarm: seed 7" in result.output) is not is_killed
    assert "in 3 clean runs" in result.output


@pytest.mark.parametrize("verb", ["check", "doctor", "selftest"])
def test_each_verb_has_help_with_examples(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"tidelab {verb}" in result.output
    assert "Example" in result.output
    assert "--json" in result.output


def test_the_version_is_told() -> None:
    assert run("--version").output.strip() == __version__


def test_interrupted_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Matrix:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidelab.selftest.matrix.run_selftest", interrupted)
    assert run("selftest").exit_code == 130


def test_help_loads_neither_driver_nor_table() -> None:
    code = "import sys, tidelab.cli.app; print({'psycopg', 'tidewire'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "set()"
