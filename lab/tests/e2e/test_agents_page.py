"""Goal: the coordinator's page shows live who waits for whom, asks for a token, and loads nothing.

Method: `tidelab agents serve` as its own process, Chromium by Playwright, agents by plain HTTP.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lab.tests.e2e.kit import DEADLINE_S, browsing, files, serving
from tidelab.agent import AgentEnded, BlockingAgent

AGENT, OBSERVER = "0123456789abcdef-agent", "0123456789abcdef-observer"


@pytest.fixture
def page() -> Iterator[Page]:
    with browsing() as page:
        yield page


def post(url: str) -> None:
    headers = {"Authorization": f"Bearer {AGENT}"}
    request = urllib.request.Request(url, b"", headers, method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        answer.read()


def test_the_page_shows_who_waits_for_whom_and_asks_for_a_token(page: Page, tmp_path: Path) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with serving(tmp_path, TIDELAB_AGENT_TOKENS=AGENT, TIDELAB_OBSERVER_TOKENS=OBSERVER) as (
        url,
        _,
    ):
        run = f"{url}/runs/nightly"
        page.goto(f"{url}/")
        expect(page.locator("#state")).to_have_text("a token is needed")
        page.fill("#token", "wrong-wrong-wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("that token is not valid")
        page.fill("#token", OBSERVER)
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("live")
        assert page.url == f"{url}/", "the token is not in the address"
        expect(page.locator("#run")).to_have_text("No runs yet.")
        post(f"{run}/agents/loader?doing=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
        first = threading.Thread(
            target=post, args=[f"{run}/barriers/start?agent=clicker&roster=clicker,loader,late"]
        )
        first.start()
        expect(page.locator("td", has_text="<img src=x onerror=alert(1)>")).to_be_visible()
        barrier = page.locator("tr", has=page.locator("td:first-child", has_text="start"))
        expect(barrier).to_contain_text("1 of 3")
        expect(barrier).to_contain_text("late, loader")
        page.screenshot(path=str(tmp_path / "page.png"))
        others = [
            threading.Thread(
                target=post, args=[f"{run}/barriers/start?agent={n}&roster=clicker,loader,late"]
            )
            for n in ("loader", "late")
        ]
        for thread in others:
            thread.start()
        expect(barrier).to_contain_text("released")
        for thread in (first, *others):
            thread.join(DEADLINE_S)
    expect(page.locator("#state")).to_have_text("reconnecting")
    assert [text for text in complaints if not text.startswith("Failed to load resource: ")] == []


COPY = """() => {
  document.querySelector("nav button").focus();
  getSelection().selectAllChildren(document.querySelector("#run table:last-of-type td"));
  return getSelection().toString();
}"""


def test_among_many_the_one_that_is_missing_is_seen(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _), ThreadPoolExecutor(60) as pool, ExitStack() as held:
        for number in range(60):
            agent = BlockingAgent(url, run="crowd", name=f"agent-{number:02}")
            pool.submit(meet, held.enter_context(agent))
        post(f"{url}/runs/crowd/agents/late?doing=page+3")
        page.goto(f"{url}/")
        row = page.locator("#run table").first.locator("tr", has_text="60 of 62")
        expect(row).to_contain_text("late and 1 more")
        agents = page.locator("#run table").last.locator("tbody tr")
        expect(agents.first).to_contain_text("page 3")
        expect(agents).to_have_count(50)
        expect(page.locator("#run p").last).to_have_text("and 11 more")
        button = page.locator("nav button", has_text="crowd")
        expect(button).to_have_text("crowd · 61 there · waiting at 1 barrier")
        page.set_viewport_size({"width": 380, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, "all of it is seen"


def meet(agent: BlockingAgent) -> None:
    with contextlib.suppress(AgentEnded):  # when the test is over
        agent.meet("loaded", target=62)


def test_what_is_looked_at_stays_in_its_place(page: Page, tmp_path: Path) -> None:
    """A name can be copied and a button clicked, however much is going on."""
    with serving(tmp_path) as (url, _):
        post(f"{url}/runs/looked-at/agents/a?doing=page+0")
        page.goto(f"{url}/")
        expect(page.locator("td", has_text="page 0")).to_be_visible()
        assert page.evaluate(COPY) == "a"
        for number in (1, 2, 3):
            post(f"{url}/runs/looked-at/agents/a?doing=page+{number}")
            post(f"{url}/runs/used-since-{number}/agents/b")
            expect(page.locator("nav button")).to_have_count(1 + number)
        expect(page.locator("nav button").first).to_have_text("looked-at · 1 there")
        assert page.evaluate("getSelection().toString()") == "a"
        page.locator("nav button", has_text="used-since-2").click()
        expect(page.locator("#run")).to_contain_text("None yet.")
        expect(page.locator("td", has_text="page")).to_have_count(0)
        page.locator("nav button").first.click()
        expect(page.locator("td", has_text="page 3")).to_be_visible()
        page.locator("nav button").first.focus()
        post(f"{url}/runs/looked-at/barriers/start?agent=a&target=2&poll_s=0")
        expect(page.locator("nav button").first).to_contain_text("waiting at 1 barrier")
        assert "looked-at" in page.evaluate("document.activeElement.textContent")


def test_the_page_may_load_nothing(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _):
        page.goto(f"{url}/")
        expect(page.locator("#state")).to_have_text("live")
        with pytest.raises(Exception, match="Content Security Policy"):
            page.add_script_tag(content="document.title = 'taken over'")
        assert page.title() == "Who waits for whom"


ATTACK = """async (at) => {
  const asked = `${at}/runs/attacked`;
  const image = new Image();
  const shown = new Promise((done) => { image.onload = image.onerror = () => done(); });
  image.src = `${asked}/signals/s?agent=image&timeout_s=0.001`;
  await shown;
  const frame = document.createElement("iframe");
  Object.assign(frame, { name: "sink", src: `${asked}/signals/s?agent=frame&timeout_s=0.001` });
  const loaded = new Promise((done) => { frame.onload = () => done(); });
  document.body.append(frame);
  await loaded;
  const form = document.body.appendChild(document.createElement("form"));
  Object.assign(form, { action: `${asked}/signals/s?agent=form`, method: "post", target: "sink" });
  const sent = new Promise((done) => { frame.onload = () => done(); });
  form.submit();
  await sent;
  const post = { method: "POST", mode: "no-cors", body: "{}" };
  await fetch(`${asked}/signals/s?agent=fetch`, post).catch(() => {});
  const read = await fetch(`${at}/runs`).then(() => "read", () => "not read");
  const socket = new WebSocket(at.replace("http", "ws") + "/connect");
  const opened = await new Promise((done) => {
    socket.onopen = () => done("opened");
    socket.onerror = () => done("not opened");
  });
  return [read, opened];
}"""


def test_a_page_of_another_site_can_do_nothing(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as (url, _), files() as origin:
        page.goto(f"{origin.replace('127.0.0.1', 'localhost')}/agent.mjs")
        assert page.evaluate(ATTACK, url) == ["not read", "not opened"]
        with urllib.request.urlopen(f"{url}/runs", timeout=DEADLINE_S) as answer:
            assert json.load(answer)["ok"]["runs"] == []
        with urllib.request.urlopen(url.replace("/v2", "/metrics"), timeout=DEADLINE_S) as answer:
            refused = 'tidelab_coordinator_refused_total{code="forbidden"} 6'
            assert refused in answer.read().decode(), "all of them have come"
