"""At most one effect for each row: what all changes of one frame, taken together, do to a shape.

Clients apply the effects of a frame together: first Clear, then all rows that leave and all old
keys of Rekey go, then rows are put in. So rows may swap their keys. The fold keeps, for each row
that is there now, the one effect that leads to it from where the frame began::

    so far \\ then   Alter     Rekey              Leave
    nothing         Alter     Rekey              Leave
    Enter           Enter     Enter              nothing
    Alter           Alter     Rekey              Leave
    Rekey           Rekey     Rekey, or Alter    Leave of the first key
                              when it is the first key again

A row that left and a row that entered under its key are one row to a client: Alter, all columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from tidewire.core.model.change import UNCHANGED, Row
from tidewire.core.shape.effect import Alter, Clear, Effect, Enter, Leave, Rekey

_Key: TypeAlias = Row
_Present: TypeAlias = Enter | Alter | Rekey


def net_of(effects: Sequence[Effect], key_at: int) -> Sequence[Effect]:
    """Return what effects, one after another, come to; rows hold their key from `key_at` on."""
    if len(effects) == 1 or all(type(effect) is Enter for effect in effects):
        return effects
    net = _Net(key_at)
    for effect in effects:
        net.add(effect)
    return net.effects()


class _Net:
    """The rows that a frame has touched."""

    def __init__(self, key_at: int) -> None:
        self._key_at = key_at
        self._is_clear = False
        self._gone: dict[_Key, Leave] = {}
        """Rows that were there when the frame began, by their keys then."""
        self._present: dict[_Key, _Present] = {}
        """Rows that are there now, by their keys now."""

    def add(self, effect: Effect) -> None:
        present = self._present
        if isinstance(effect, Alter):
            key = effect.new[self._key_at :]
            before = present.get(key)
            present[key] = effect if before is None else self._then(before, effect)
        elif isinstance(effect, Enter):
            present[effect.new[self._key_at :]] = effect
        elif isinstance(effect, Leave):
            self._leave(effect, present.pop(effect.old[self._key_at :], None))
        elif isinstance(effect, Rekey):
            before = present.pop(effect.old[self._key_at :], None)
            key = effect.new[self._key_at :]
            present[key] = effect if before is None else self._then(before, effect)
        elif isinstance(effect, Clear):
            self._is_clear = True
            self._gone.clear()
            present.clear()
        else:
            assert_never(effect)

    def effects(self) -> list[Effect]:
        present = [self._settled(key, effect) for key, effect in self._present.items()]
        return [*[Clear()] * self._is_clear, *self._gone.values(), *present]

    def _settled(self, key: _Key, effect: _Present) -> _Present:
        if isinstance(effect, Enter) and key in self._gone:
            del self._gone[key]
            return Alter(None, effect.new)
        return effect

    def _leave(self, effect: Leave, before: _Present | None) -> None:
        match before:
            case None | Alter():
                self._gone[self._key(effect.old)] = effect
            case Rekey(old=old):
                self._gone[self._key(old)] = Leave(old)
            case Enter():
                pass
            case _:
                assert_never(before)

    def _then(self, before: _Present, effect: Alter | Rekey) -> _Present:
        match before:
            case Enter(new=new):
                return Enter(_merged(new, effect.new))
            case Alter(old=old, new=new):
                if isinstance(effect, Alter):
                    return Alter(old, _merged(new, effect.new))
                return Rekey(old or effect.old, _merged(new, effect.new), old is not None)
            case Rekey(old=old, new=new, old_is_whole=is_whole):
                new = _merged(new, effect.new)
                if self._key(old) == self._key(new):
                    return Alter(old if is_whole else None, new)
                return Rekey(old, new, is_whole)
            case _:
                assert_never(before)

    def _key(self, row: Row) -> _Key:
        return row[self._key_at :]


def _merged(before: Row, after: Row) -> Row:
    if UNCHANGED not in after:
        return after
    return tuple(a if b is UNCHANGED else b for a, b in zip(before, after, strict=True))
