"""Goal: the contract can be met by a small driver.

Method: one of a made-up protocol, checked by types.

The frames are words: `+ 1 a` puts a row, `= 110` claims a position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.tests.core.scene import ALL
from tidelab.core.driver import Driver, Endpoint, Frame, Reply, Session, Wanted
from tidelab.core.history.event import Claimed, Subscribed
from tidelab.core.history.position import Lsn
from tidelab.core.history.truth import Table


class WordSession:
    def __init__(self) -> None:
        self.wanted: dict[str, Wanted] = {}

    def open(self) -> Sequence[Frame]:
        return ["hello", *self.subscribe(list(self.wanted.values()))]

    def subscribe(self, wanted: Sequence[Wanted]) -> Sequence[Frame]:
        self.wanted |= {each.id: each for each in wanted}
        return [f"want {each.id}" for each in wanted]

    def unsubscribe(self, id: str) -> Sequence[Frame]:
        del self.wanted[id]
        return [f"leave {id}"]

    def receive(self, frame: Frame) -> Reply:
        word, argument = str(frame).split()
        if word == "yes":
            return Reply((Subscribed(argument, self.wanted[argument].shape, "copy"),))
        return Reply((Claimed(Lsn(int(argument)), tuple(self.wanted)),), ("thanks",))

    def wait(self, lsn: Lsn) -> Sequence[Frame]:
        return [f"wait {lsn}"]

    def close(self) -> None:
        pass


class Words:
    name = "words"

    def endpoint(self) -> Endpoint:
        return Endpoint("ws://localhost/words")

    def session(self, client: str, tables: Mapping[str, Table]) -> Session:
        return WordSession()


def test_a_conversation() -> None:
    driver: Driver = Words()
    session = driver.session("c", {})
    assert driver.endpoint().subprotocols == ()
    assert session.open() == ["hello"]
    assert session.subscribe([Wanted("s", ALL)]) == ["want s"]
    assert session.receive("yes s").events == (Subscribed("s", ALL, "copy"),)
    assert session.receive("= 110") == Reply((Claimed(Lsn(110), ("s",)),), ("thanks",))
    session.close()
    assert session.open() == ["hello", "want s"]
    assert session.unsubscribe("s") == ["leave s"]
    assert session.wait(Lsn(5)) == ["wait 5"]
