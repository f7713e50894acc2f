"""Who may connect: bearer tokens, compared in constant time."""

from __future__ import annotations

import hmac


class Tokens:
    """The tokens that are let in; none at all lets everybody in (`--dev`)."""

    def __init__(self, tokens: tuple[str, ...], *, is_open: bool) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._is_open = is_open

    def admit(self, token: str) -> bool:
        """Tell whether a token is known; looks at all of them, whichever matches."""
        given = token.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return self._is_open or any(matches)

    def admit_header(self, authorization: str | None) -> bool | None:
        """Judge an `Authorization` header: None when there is none."""
        if authorization is None:
            return True if self._is_open else None
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.admit(token.strip())
