"""The shared data of a run: keys with versions.

The one rule: versions are of the run, and only grow. A key that was removed and written again has
a version that nobody has seen, so a comparison cannot be fooled.
"""

from __future__ import annotations

import msgspec

from tidelab.core.coord.answer import Body, Changed, Done, Fault, Value, Written
from tidelab.core.coord.command import Delete, Get, Put, Unwatch, Watch
from tidelab.core.coord.desk import Desk
from tidelab.core.coord.record import KeyContent, Record
from tidelab.limits import COORD_KEYS_BYTES_MAX, COORD_NAMES_MAX, COORD_VALUE_BYTES_MAX


class Keys:
    """All keys of one run."""

    def __init__(self, run: str, desk: Desk) -> None:
        self._run, self._desk = run, desk
        self.version = 0
        """The newest version that was given out."""
        self.values: dict[str, KeyContent] = {}
        self._bytes = 0
        self._peers: dict[str, dict[int, None]] = {}

    def put(self, command: Put) -> Body | Fault:
        """Write a key."""
        name, size = command.key, len(bytes(command.value))
        before = self.values.get(name)
        if fault := _compare(name, before, command.if_version):
            return fault
        if size > COORD_VALUE_BYTES_MAX:
            told = f"a value has at most {COORD_VALUE_BYTES_MAX} bytes, this one has {size}"
            return Fault("too_large", told)
        bytes_now = self._bytes + size - _size_of(before)
        if bytes_now > COORD_KEYS_BYTES_MAX:
            return Fault("full", f"the keys of a run have at most {COORD_KEYS_BYTES_MAX} bytes")
        if before is None and len(self.values) >= COORD_NAMES_MAX:
            return Fault("full", f"a run has at most {COORD_NAMES_MAX} keys")
        self.version += 1
        self._bytes = bytes_now
        content = KeyContent(self.version, msgspec.Raw(bytes(command.value)))
        self.values[name] = content
        self._desk.write(Record(self._run, "key", name, 0, msgspec.json.encode(content)))
        self._tell(Changed(name, content.version, content.value))
        return Written(name, content.version)

    def get(self, command: Get) -> Body | Fault:
        """Read a key."""
        content = self.values.get(command.key)
        if content is None:
            return Fault("not_found", f"there is no key {command.key}")
        return Value(command.key, content.version, content.value)

    def delete(self, command: Delete) -> Body | Fault:
        """Remove a key."""
        before = self.values.get(command.key)
        if before is None:
            return Fault("not_found", f"there is no key {command.key}")
        if fault := _compare(command.key, before, command.if_version):
            return fault
        del self.values[command.key]
        self._bytes -= _size_of(before)
        self._desk.write(Record(self._run, "key", command.key, 0, None))
        self._tell(Changed(command.key, None, None))
        return Done()

    def watch(self, command: Watch, peer: int) -> Body:
        """Read a key, and tell of every change."""
        self._peers.setdefault(command.key, {})[peer] = None
        content = self.values.get(command.key)
        if content is None:
            return Value(command.key)
        return Value(command.key, content.version, content.value)

    def unwatch(self, command: Unwatch, peer: int) -> Body:
        """Tell a connection no more."""
        self.forget(command.key, peer)
        return Done()

    def forget(self, key: str, peer: int) -> None:
        """Note that a connection watches a key no more."""
        peers = self._peers.get(key, {})
        peers.pop(peer, None)
        if not peers:
            self._peers.pop(key, None)

    def restore(self, record: Record) -> None:
        """Take back a record."""
        content = msgspec.json.decode(record.content or b"", type=KeyContent)
        self.values[record.name] = KeyContent(content.version, msgspec.Raw(bytes(content.value)))
        self.version = max(self.version, content.version)
        self._bytes += _size_of(content)

    def _tell(self, push: Changed) -> None:
        for peer in self._peers.get(push.key, ()):
            self._desk.push(peer, push)


def _size_of(content: KeyContent | None) -> int:
    return 0 if content is None else len(bytes(content.value))


def _compare(key: str, content: KeyContent | None, expected: int | None) -> Fault | None:
    version = 0 if content is None else content.version
    if expected is None or expected == version:
        return None
    told = f"key {key} has version {version}" if version else f"there is no key {key}"
    return Fault("conflict", f"{told}, expected version {expected}", version=version)
