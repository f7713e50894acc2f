"""Goal: `tidewire doctor` speaks to people and to machines, never of secrets.

Method: the command in a process of its own, on real databases.
"""

from __future__ import annotations

import json

import psycopg
import pytest

from engine.tests.integration.clinic import execute
from engine.tests.integration.command import tidewire
from engine.tests.integration.live import Live
from engine.tests.integration.syncing import only_newest
from tidewire.core.diagnosis.matters import MATTERS

pytestmark = pytest.mark.postgres


def doctor(live: Live, *arguments: str) -> tuple[int, str]:
    done = tidewire("doctor", *arguments, TIDEWIRE_DATABASE_URL=live.url)
    assert done.stderr == ""
    assert live.url.split(":")[2].partition("@")[0] not in done.stdout, "the password"
    return done.returncode, done.stdout


@only_newest
def test_a_problem_is_said_with_its_remedy_and_the_remedy_makes_it_well(live: Live) -> None:
    execute(live.url, "CREATE UNLOGGED TABLE orders (id int PRIMARY KEY)")
    code, said = doctor(live, "--table", "orders")
    assert code == 1
    remedy = "           ALTER TABLE public.orders SET LOGGED;"
    lines = said.splitlines()
    told = lines.index(remedy)
    assert lines[told - 1].startswith("problem  table public.orders: is unlogged: ")
    assert lines[-1].startswith("problem: 1, warning: 0, ok: ")
    assert "\x1b" not in said, "no colours where no terminal is"
    execute(live.url, remedy)
    code, said = doctor(live, "--table", "orders")
    assert code == 0
    assert "ok       table public.orders: can be followed by its key (id)" in said


@only_newest
def test_machines_are_told_the_same_in_one_object(live: Live) -> None:
    execute(live.url, "CREATE TABLE orders (id int)")
    code, said = doctor(live, "--json", "--all")
    document = json.loads(said)
    assert said.count("\n") == 1
    assert list(document) == ["deployment", "problems", "warnings", "findings"]
    assert (code, document["deployment"], document["problems"]) == (1, "default", 1)
    findings = document["findings"]
    assert {tuple(each) for each in findings} == {("id", "level", "subject", "text", "remedy")}
    assert {each["level"] for each in findings} <= {"ok", "warning", "problem"}
    assert {each["id"] for each in findings} <= MATTERS.keys()
    [table] = [each for each in findings if each["id"] == "table"]
    assert table == {
        "id": "table",
        "level": "problem",
        "subject": "public.orders",
        "text": "has no primary key: its UPDATE and DELETE fail once it is published",
        "remedy": ["ALTER TABLE public.orders ADD PRIMARY KEY (id);"],
    }


@only_newest
def test_only_problems_are_printed_and_all_are_counted(live: Live) -> None:
    orphan = "SELECT pg_create_logical_replication_slot('tidewire_orphan_0123abcd', 'pgoutput')"
    execute(live.url, "CREATE TABLE a (id int)", "CREATE TABLE b (id int PRIMARY KEY)", orphan)
    code, said = doctor(live, "--all", "--only-problems")
    assert (code, said.count("\n")) == (1, 3)
    assert "table public.a" in said
    assert doctor(live, "--only-problems")[0] == 0
    document = json.loads(doctor(live, "--all", "--only-problems", "--json")[1])
    assert [each["subject"] for each in document["findings"]] == ["public.a"]
    assert document["warnings"] == 1


@only_newest
def test_names_of_others_do_not_write_to_the_terminal(live: Live) -> None:
    execute(live.url, 'CREATE TABLE "x\x1b[2J\ny" (id int)')
    _, said = doctor(live, "--all", "--only-problems")
    assert "\x1b" not in said
    assert said.count("\n") == 3, "one line each: the finding, its remedy, the counts"
    assert 'public."x\\x1b[2J\\x0ay"' in said


@only_newest
def test_who_cannot_look_says_why_in_one_line(live: Live) -> None:
    wrong = live.url.rpartition("/")[0] + "/nowhere"
    for url, words in (
        (wrong, 'database "nowhere" does not exist'),
        ("postgresql://a:hunter2@127.0.0.1:1/b", "Connection refused"),
        ("", "TIDEWIRE_DATABASE_URL"),
    ):
        done = tidewire("doctor", TIDEWIRE_DATABASE_URL=url)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr
        assert "hunter2" not in done.stderr


@only_newest
def test_a_server_that_gives_no_answer_is_given_up(live: Live) -> None:
    # A lock on the catalog holds every query up that asks for a publication.
    with psycopg.connect(live.url) as connection:
        connection.execute("LOCK pg_publication IN ACCESS EXCLUSIVE MODE")
        done = tidewire("doctor", TIDEWIRE_DATABASE_URL=live.url)
    assert done.returncode == 2
    assert "statement timeout" in done.stderr
