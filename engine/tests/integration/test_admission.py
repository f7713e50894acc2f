"""The whole table of who is let in by Host and Origin.

Method: pairs of headers go into `Admission`, a status comes out. What a browser cannot send is in
the table too, for what stands between it and us may.
"""

from __future__ import annotations

import pytest

from tidewire.config import Config
from tidewire.server.admission import Admission

TOKENS = ("a-token-of-16-or-more",)
PLAIN = Admission(Config(listen="127.0.0.1:8800", dev=True))
NAMED = Admission(
    Config(
        listen="sync.example:443",
        tokens=TOKENS,
        allowed_hosts=("Alias.Example",),
        allowed_origins=("https://App.Example/", "https://port.example:8443"),
    )
)
EVERYWHERE = Admission(Config(listen="0.0.0.0:8800", tokens=TOKENS))
SIX = Admission(Config(listen="[::1]:8800", dev=True))

HOSTS_LET_IN = [
    (PLAIN, "localhost"),
    (PLAIN, "localhost:8800"),
    (PLAIN, "LocalHost:1"),
    (PLAIN, "127.0.0.1:8800"),
    (PLAIN, "127.9.9.9"),
    (PLAIN, "192.0.2.7:8800"),
    (PLAIN, "[::1]"),
    (PLAIN, "[::1]:8800"),
    (PLAIN, "[2001:DB8::7]:8800"),
    (PLAIN, " localhost "),
    (NAMED, "sync.example"),
    (NAMED, "SYNC.example:443"),
    (NAMED, "alias.example"),
    (EVERYWHERE, "0.0.0.0:8800"),
    (EVERYWHERE, "198.51.100.1"),
    (SIX, "[::1]:8800"),
    (SIX, "localhost:8800"),
]
HOSTS_REFUSED = [
    (PLAIN, None),
    (PLAIN, ""),
    (PLAIN, ":8800"),
    (PLAIN, "evil.example"),
    (PLAIN, "evil.example:8800"),
    (PLAIN, "localhost.evil.example"),
    (PLAIN, "evil-localhost"),
    (PLAIN, "127.0.0.1.evil.example"),
    (PLAIN, "127.0.0.1.nip.io:8800"),
    (PLAIN, "localhost."),
    (PLAIN, "127.0.0.1."),
    (PLAIN, "0x7f000001"),
    (PLAIN, "2130706433"),
    (PLAIN, "127.1"),
    (PLAIN, "[evil.example]"),
    (PLAIN, "[]"),
    (PLAIN, "["),
    (PLAIN, "localhost, evil.example"),
    (PLAIN, "evil.example, localhost"),
    (PLAIN, "localhost@evil.example"),
    (PLAIN, "localhost/evil.example"),
    (PLAIN, "*"),
    (NAMED, "example"),
    (NAMED, "x.sync.example"),
    (NAMED, "app.example"),
    (EVERYWHERE, "evil.example:8800"),
]


@pytest.mark.parametrize(("admission", "host"), HOSTS_LET_IN)
def test_a_host_is_ours(admission: Admission, host: str) -> None:
    assert admission.judge(host, None) is None


@pytest.mark.parametrize(("admission", "host"), HOSTS_REFUSED)
def test_a_host_is_not_ours(admission: Admission, host: str | None) -> None:
    verdict = admission.judge(host, None)
    assert verdict is not None
    assert verdict.status == 421
    assert "--allow-host" in verdict.text


@pytest.mark.parametrize("host", HOSTS_REFUSED)
def test_a_page_of_a_host_that_is_not_ours_stays_out(host: tuple[Admission, str | None]) -> None:
    # DNS rebinding: the page's own name points at us, so its Origin equals its Host.
    admission, name = host
    for origin in (f"http://{name}", f"http://{name}:8800", "http://localhost:8800", "null"):
        assert admission.judge(name, origin) is not None


ORIGINS_LET_IN = [
    (PLAIN, "localhost:8800", "http://localhost:8800"),
    (PLAIN, "localhost:8800", "http://localhost:3000"),
    (PLAIN, "localhost:8800", "HTTPS://LOCALHOST"),
    (PLAIN, "127.0.0.1:8800", "http://localhost:8800"),
    (PLAIN, "localhost:8800", "http://127.0.0.1:5173"),
    (PLAIN, "localhost:8800", "http://[::1]:5173"),
    (PLAIN, "[::1]:8800", "http://[::1]:8800"),
    (PLAIN, "192.0.2.7:8800", "http://192.0.2.7"),
    (PLAIN, "[2001:db8::7]:8800", "http://[2001:DB8::7]:80"),
    (NAMED, "sync.example", "https://sync.example"),
    (NAMED, "alias.example:444", "https://alias.example"),
    (NAMED, "sync.example", "https://app.example"),
    (NAMED, "sync.example", "HTTPS://APP.EXAMPLE"),
    (NAMED, "sync.example", "https://port.example:8443"),
    (NAMED, "sync.example", "http://localhost:3000"),
]
ORIGINS_REFUSED = [
    (PLAIN, "localhost", "http://evil.example"),
    (PLAIN, "localhost", "null"),
    (PLAIN, "localhost", ""),
    (PLAIN, "localhost", "localhost"),
    (PLAIN, "localhost", "http://"),
    (PLAIN, "localhost", "file://"),
    (PLAIN, "localhost", "about:blank"),
    (PLAIN, "localhost", "data:text/html,localhost"),
    (PLAIN, "localhost", "http://localhost.evil.example"),
    (PLAIN, "localhost", "http://evil.example:8800"),
    (PLAIN, "localhost", "http://evil-localhost"),
    (PLAIN, "localhost", "http://localhost."),
    (PLAIN, "localhost", "http://localhost@evil.example"),
    (PLAIN, "localhost", "http://localhost:8800@evil.example"),
    (PLAIN, "localhost", "http://evil.example/localhost"),
    (PLAIN, "localhost", "http://evil.example?@localhost"),
    (PLAIN, "localhost", "http://evil.example#@localhost"),
    (PLAIN, "localhost", "http://127.0.0.1.evil.example"),
    (PLAIN, "localhost", "http://[evil.example]"),
    (PLAIN, "localhost", "http://[::1"),
    (PLAIN, "localhost", "http://192.0.2.7"),
    (PLAIN, "localhost", "http://[2001:db8::7]"),
    (PLAIN, "localhost", "http://0.0.0.0:8800"),
    (PLAIN, "localhost", "http://localhost, http://evil.example"),
    (PLAIN, "localhost", "http://evil.example, http://localhost"),
    (PLAIN, "192.0.2.7", "http://192.0.2.70"),
    (NAMED, "sync.example", "https://example"),
    (NAMED, "sync.example", "https://x.sync.example"),
    (NAMED, "sync.example", "https://alias.example"),
    (NAMED, "sync.example", "https://x.app.example"),
    (NAMED, "sync.example", "http://app.example"),
    (NAMED, "sync.example", "https://app.example:444"),
    (NAMED, "sync.example", "https://port.example"),
]


@pytest.mark.parametrize(("admission", "host", "origin"), ORIGINS_LET_IN)
def test_a_page_may_connect(admission: Admission, host: str, origin: str) -> None:
    assert admission.judge(host, origin) is None


@pytest.mark.parametrize(("admission", "host", "origin"), ORIGINS_REFUSED)
def test_a_page_may_not_connect(admission: Admission, host: str, origin: str) -> None:
    verdict = admission.judge(host, origin)
    assert verdict is not None
    assert verdict.status == 403
    assert "--allow-origin" in verdict.text


# An Origin is scheme, host and port (RFC 6454, 6.2): whatever has more was not made by a browser.
NO_ORIGINS = [
    "http://evil.example@localhost",
    "http://evil.example\\@localhost",
    "http://[::1].evil.example",
    "http://localhost/evil",
    "http://localhost?evil",
    "http://localhost:99999",
    "http://localhost:port",
    "//localhost",
    "evil://localhost",
    "javascript://localhost/%0aalert(1)",
    "chrome-extension://localhost",
]


def test_what_is_no_origin_of_a_page_stays_out() -> None:
    assert [origin for origin in NO_ORIGINS if PLAIN.judge("localhost", origin) is None] == []


def test_a_name_inside_brackets_does_not_hide_what_follows_them() -> None:
    assert PLAIN.judge("[::1]evil.example", None) is not None


def test_two_hosts_of_which_the_first_has_a_port_are_no_host() -> None:
    # `Connection` joins several Host headers with a comma.
    assert PLAIN.judge("localhost:8800, evil.example", None) is not None


def test_connections_are_counted_up_to_the_limit() -> None:
    admission = Admission(Config(dev=True, connections_max=2))
    assert admission.judge_count(0) is None
    assert admission.judge_count(1) is None
    for count in (2, 3):
        verdict = admission.judge_count(count)
        assert verdict is not None
        assert verdict.status == 503
