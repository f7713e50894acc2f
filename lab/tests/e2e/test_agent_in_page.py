"""Goal: a page is an agent: it meets others, and comes back when the coordinator was killed.

Method: Chromium loads examples/agents/agent.mjs from a server of files, as a test of a page would;
the coordinator is a process of its own; the other agent is in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from lab.tests.e2e.kit import browsing, files, serving
from tidelab.agent import BlockingAgent

TOKEN = "0123456789abcdef-agent"
JOIN = """async ([url, token]) => {
  const { Agent } = await import("/agent.mjs");
  const told = (error) => error.message;
  window.agent = await Agent.join(url, "r", "page", { open_s: 2, token }).catch(told);
  return typeof window.agent === "string" ? window.agent : "joined";
}"""
FOLLOW = """() => {
  window.seen = [];
  window.meeting = window.agent.meet("loaded", { target: 2, timeout_s: 60 });
  return window.agent.follow("log", ({ data }) => window.seen.push(data));
}"""
MEET = """async () => {
  const start = await window.meeting;
  await window.agent.publish("log", "the page was here");
  const seen = window.seen;
  await window.agent.leave();
  return { arrived: start.arrived, seen };
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    with files() as origin, browsing() as page:
        page.goto(f"{origin}/")
        yield page


def base_of(v2_url: str) -> str:
    return v2_url.removesuffix("/v2")


def test_a_page_meets_an_agent_in_python_over_a_kill_of_the_coordinator(
    page: Page, tmp_path: Path
) -> None:
    options = ("--store", "c.db", "--allow-origin", page.url)
    with serving(tmp_path, *options, TIDELAB_AGENT_TOKENS=TOKEN) as (url, process):
        assert page.evaluate(JOIN, [base_of(url), TOKEN]) == "joined"
        with BlockingAgent(base_of(url), run="r", name="python", token=TOKEN) as python:
            python.publish("log", "before the kill")
            assert page.evaluate(FOLLOW)["events"][0]["data"] == "before the kill"
            process.kill()
            process.wait()
            port = urlsplit(url).port or 0
            with serving(tmp_path, *options, port=port, TIDELAB_AGENT_TOKENS=TOKEN):
                python.publish("log", "after the kill")
                assert python.meet("loaded", target=2, timeout_s=60).arrived == 2
                assert page.evaluate(MEET) == {
                    "arrived": 2,
                    "seen": ["before the kill", "after the kill", "the page was here"],
                }
                story = python.inspect()
                assert {line.agent: line.state for line in story.agents}["page"] == "left"


def test_a_page_that_is_not_allowed_is_told_what_is_missing(page: Page, tmp_path: Path) -> None:
    origin = page.url.removesuffix("/")
    with serving(tmp_path) as (url, _):
        told = page.evaluate(JOIN, [base_of(url), None])
    assert told == f"no coordinator at {base_of(url)} that allows pages of {origin}"
