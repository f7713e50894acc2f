"""Tokens of the coordinator: from the environment or a file, never from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tidelab.coordinator.v2.gate import Tokens
from tidelab.errors import ConfigurationError
from tidelab.limits import COORD_TOKEN_CHARS_MIN

ROLES = Tokens._fields


def variable_of(role: str) -> str:
    """Name the variable that holds the tokens of a role, with white space between them."""
    return f"TIDELAB_{role.upper()}_TOKENS"


def read_tokens(environment: Mapping[str, str], path: Path | None) -> Tokens:
    """Gather the tokens of all roles.

    Raises:
        ConfigurationError: the file cannot be read, or a token is too short to be a secret.
    """
    found = {role: environment.get(variable_of(role), "").split() for role in ROLES}
    if path is not None:
        for role, token in _read_file(path):
            found[role].append(token)
    for role, tokens in found.items():
        if any(len(token) < COORD_TOKEN_CHARS_MIN for token in tokens):
            raise ConfigurationError(
                f"a token of the role {role} has fewer than {COORD_TOKEN_CHARS_MIN} characters: "
                "`openssl rand -hex 16` makes a good one"
            )
    return Tokens(**{role: tuple(tokens) for role, tokens in found.items()})


def _read_file(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"tokens {path} cannot be read: {why}") from None
    found = []
    for number, line in enumerate(lines, 1):
        match line.partition("#")[0].split():
            case []:
                continue
            case [role, token] if role in ROLES:
                found.append((role, token))
            case _:  # the line is not shown: it may hold a secret
                told = f"tokens {path}, line {number}: write a role and a token"
                raise ConfigurationError(f"{told}; roles: {', '.join(ROLES)}")
    return found
