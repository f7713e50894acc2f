"""Answers that are kept, so that a request can be sent again when its answer was lost.

The one rule: an answer is written together with what it answers; either both are kept or none.
Refusals are not kept: nothing happened, so trying again does no harm.
"""

from __future__ import annotations

import hashlib
from collections import deque

import msgspec
from msgspec.structs import replace

from tidelab.core.coord.answer import Body, Fault
from tidelab.core.coord.command import Once
from tidelab.core.coord.desk import Desk
from tidelab.core.coord.record import AnswerContent, Record
from tidelab.limits import COORD_AGENTS_MAX, COORD_ANSWERS_KEPT


class Repeats:
    """The last answers to each agent of one run."""

    def __init__(self, run: str, desk: Desk) -> None:
        self._run, self._desk = run, desk
        self._answers: dict[str, deque[AnswerContent]] = {}
        self._counts: dict[str, int] = {}

    def find(self, agent: str, command: Once) -> msgspec.Raw | Fault | None:
        """Return the answer to an earlier request of this name."""
        for answer in self._answers.get(agent, ()):
            if answer.once == command.once:
                if answer.command == str(command) and answer.digest in ("", _digest_of(command)):
                    return answer.answer
                told = f"once={command.once} was given to another request: {answer.command}"
                return Fault("conflict", told)
        return None

    def keep(self, agent: str, command: Once, body: Body) -> None:
        """Keep the answer to a request that has a name."""
        if command.once is None:
            return
        answer = msgspec.Raw(msgspec.json.encode(body))
        content = AnswerContent(command.once, str(command), answer, _digest_of(command))
        number = self._counts.get(agent, 0) + 1
        self._add(agent, number, content)
        self._write(agent, number, msgspec.json.encode(content))
        if number > COORD_ANSWERS_KEPT:
            self._write(agent, number - COORD_ANSWERS_KEPT, None)
        if len(self._answers) > COORD_AGENTS_MAX:
            self._forget(next(iter(self._answers)))

    def restore(self, record: Record) -> None:
        """Take back a record; those of one agent come in order."""
        agent = "" if record.name == _NOBODY else record.name
        content = msgspec.json.decode(record.content or b"", type=AnswerContent)
        # A copy: what was decoded would keep the whole record alive.
        content = replace(content, answer=msgspec.Raw(bytes(content.answer)))
        self._add(agent, record.number, content)

    def _add(self, agent: str, number: int, content: AnswerContent) -> None:
        answers = self._answers.pop(agent, None) or deque(maxlen=COORD_ANSWERS_KEPT)
        answers.append(content)
        self._answers[agent] = answers  # behind all others: the first is who asked longest ago
        self._counts[agent] = number

    def _forget(self, agent: str) -> None:
        last = self._counts.pop(agent)
        for number in range(last - len(self._answers.pop(agent)) + 1, last + 1):
            self._write(agent, number, None)

    def _write(self, agent: str, number: int, content: bytes | None) -> None:
        self._desk.write(Record(self._run, "answer", agent or _NOBODY, number, content))


def _digest_of(command: Once) -> str:
    text = msgspec.json.encode(replace(command, id=None))
    return hashlib.blake2b(text, digest_size=8).hexdigest()


_NOBODY = "*"  # requests without an agent; no agent can be called so
