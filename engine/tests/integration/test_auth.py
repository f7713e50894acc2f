"""Tokens: who is let in, how they are compared, and that no line of ours ever shows one.

Method: `Tokens` by itself; then whole sessions at log level debug, whose every output is searched.
"""

from __future__ import annotations

import hmac
import io
import logging
from collections.abc import Iterator

import pytest

from engine.tests.integration.loop import on_loop, until
from engine.tests.integration.node import GUARDED, TOKEN, follower, running
from engine.tests.integration.peer import frame, peer
from tidewire.client.connection import Client
from tidewire.config import Config
from tidewire.errors import Disconnected
from tidewire.server.auth import Tokens
from tidewire.telemetry import configure_logging

OTHER = "another-token-of-ours"
WRONG = "wrong-token-of-nobody"
MARKER = "marker-value-of-a-row"


def test_a_token_is_known_or_not() -> None:
    tokens = Tokens((TOKEN, OTHER), is_open=False)
    assert tokens.admit(TOKEN)
    assert tokens.admit(OTHER)
    for wrong in ("", WRONG, TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", "é", "\udcff"):
        assert not tokens.admit(wrong)


def test_nobody_is_let_in_without_tokens_unless_open() -> None:
    assert not Tokens((), is_open=False).admit("")
    assert Tokens((), is_open=True).admit("")


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (None, None),
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"BEARER   {TOKEN} ", True),
        (f"Bearer {WRONG}", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("", False),
        (TOKEN, False),
        (f"Basic {TOKEN}", False),
        (f"Bearer {TOKEN}, Bearer {WRONG}", False),
        (f"Bearer\t{TOKEN}", False),
    ],
)
def test_a_header_is_judged(header: str | None, verdict: bool | None) -> None:
    assert Tokens((TOKEN,), is_open=False).admit_header(header) is verdict


def test_an_open_server_takes_everybody_without_a_header() -> None:
    assert Tokens((), is_open=True).admit_header(None) is True


def test_all_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Goal: neither the first difference nor the place in the list shows in the time.
    seen: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def note(given: bytes, known: bytes) -> bool:
        seen.append((given, known))
        return compare(given, known)

    monkeypatch.setattr(hmac, "compare_digest", note)
    tokens = Tokens((TOKEN, OTHER), is_open=False)
    for given in (TOKEN, OTHER, WRONG):
        seen.clear()
        tokens.admit(given)
        assert seen == [(given.encode(), TOKEN.encode()), (given.encode(), OTHER.encode())]


@on_loop
async def test_a_token_comes_with_hello() -> None:
    async with running(GUARDED) as node:
        for token, code in ((TOKEN, None), (WRONG, 4401), ("", 4401), (None, 4401)):
            async with peer(node.port) as client:
                await client.shake_hands()
                client.send({"type": "hello", "client": "a", "token": token})
                if code is None:
                    assert (await client.message())["type"] == "welcome"
                else:
                    assert await client.close_code() == code
        await until(lambda: node.count_sessions() == 0)
        assert node.closed_as("unauthorized") == 3


@on_loop
async def test_nothing_is_told_before_the_token() -> None:
    async with running(GUARDED) as node, peer(node.port) as client:
        await client.shake_hands()
        client.send(
            {"type": "hello", "client": "a", "token": WRONG},
            {"type": "hello", "client": "a", "token": TOKEN},
            {"type": "subscribe", "shapes": [{"id": "1", "table": "words", "initial": False}]},
        )
        node.commit(MARKER)
        assert await client.close_code() == 4401


@on_loop
async def test_a_token_in_the_header_is_enough() -> None:
    logging.getLogger("tidewire").setLevel(logging.NOTSET)
    async with running(GUARDED) as node, peer(node.port) as client:
        assert (await client.shake_hands(f"Authorization: Bearer {TOKEN}")).status == 101
        await client.follow()
        node.commit("in")
        assert await client.words(1) == ["in"]


@on_loop
async def test_our_client_is_told_that_its_token_is_wrong() -> None:
    async with running(GUARDED) as node:
        with pytest.raises(Disconnected, match="unauthorized") as caught:
            async with Client(node.url, token=WRONG):
                pass
        assert caught.value.code == 4401
        assert WRONG not in str(caught.value)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Give the stream to which `configure_logging` may write, and undo what that does."""
    names = ("", "tidewire", "tidewire.websocket")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = list(logging.getLogger().handlers)
    yield io.StringIO()
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("form", ["text", "json"])
@on_loop
async def test_no_secret_is_ever_written(
    form: str, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    # Goal: tokens and rows are in no line at any level. Method: a whole life, with all its faults.
    configure_logging("debug", form, log)
    async with running(GUARDED) as node:
        header = f"Authorization: Bearer {TOKEN}"
        async with Client(node.url, token=TOKEN) as client:
            subscription = await client.subscribe("words")
            node.commit(MARKER)
            async for commit in subscription.commits():
                assert MARKER in str(commit.changes)
                break
        for lines, token in (((header,), None), ((), WRONG), ((f"{header}x",), None)):
            async with peer(node.port) as raw:
                if (await raw.shake_hands(*lines, path=f"/v1/sync?token={TOKEN}")).status == 101:
                    raw.send({"type": "hello", "client": "a", "token": token})
                    raw.send({"type": TOKEN, "token": TOKEN})
                    raw.write(frame(3, TOKEN.encode()))
                    await raw.end()
        for path in ("/v1/status", "/metrics"):
            async with peer(node.port) as raw:
                raw.ask(path, header)
                answer = await raw.answer()
                assert answer.status == 200
                assert TOKEN.encode() not in answer.body + repr(answer.headers).encode()
                assert MARKER.encode() not in answer.body
        await until(lambda: node.count_sessions() == 0)
    written = log.getvalue() + "".join(capfd.readouterr())
    assert "connection closed" in written, "the log was on"
    for secret in (TOKEN, WRONG, MARKER):
        assert secret not in written


@on_loop
async def test_a_program_that_embeds_us_logs_everything(log: io.StringIO) -> None:
    # Goal: the same, where `configure_logging` was never called. Method: its own root handler.
    logging.getLogger().handlers[:] = [logging.StreamHandler(log)]
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("tidewire").setLevel(logging.NOTSET)
    async with running(GUARDED) as node, peer(node.port) as client:
        assert (await client.shake_hands(f"Authorization: Bearer {TOKEN}")).status == 101
        client.send({"type": "hello", "token": TOKEN, "client": "a"})
        await client.message()
    assert "connection closed" in log.getvalue(), "the log was on"
    assert TOKEN[:12] not in log.getvalue()  # long frames are printed with a gap


@pytest.mark.parametrize("form", ["text", "json"])
@on_loop
async def test_a_client_cannot_write_lines_of_its_own_into_the_log(
    form: str, log: io.StringIO
) -> None:
    configure_logging("info", form, log)
    name = "me]\n12:00:00 ERROR   replication: the database is gone\r\x1b[2J"
    async with running() as node:
        async with peer(node.port) as client:
            await client.shake_hands()
            client.send({"type": "hello", "client": name})
            await client.message()
        await until(lambda: node.count_sessions() == 0)
    lines = [line for line in log.getvalue().splitlines() if "is gone" in line]
    assert len(lines) == 1
    assert "connection closed" in lines[0]
    assert "\x1b" not in lines[0]


def test_a_config_hides_its_secrets() -> None:
    config = Config(database_url="postgresql://app:pa55word@db/app", tokens=(TOKEN,))
    for shown in (repr(config), str(config), f"{config}"):
        assert TOKEN not in shown
        assert "pa55word" not in shown


@on_loop
async def test_a_follower_without_a_token_is_let_in_by_an_open_server() -> None:
    async with running() as node, follower(node) as client:
        node.commit("open")
        assert await client.words(1) == ["open"]
