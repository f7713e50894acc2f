"""Two versions of a relation are equal only if every fact of them is.

Method: change one fact at a time; the assembler relies on this to notice a new version.
"""

from __future__ import annotations

import msgspec
import pytest

from engine.tests.core.wal.tables import table
from tidewire.core.model.relation import Identity, JsonForm, Relation

USERS = table(JsonForm.NUMBER, JsonForm.TEXT)
ID, NAME = USERS.columns


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(USERS, oid=2),
        msgspec.structs.replace(USERS, schema="other"),
        msgspec.structs.replace(USERS, name="other"),
        msgspec.structs.replace(USERS, identity=Identity.FULL),
        msgspec.structs.replace(USERS, columns=(ID,)),
        msgspec.structs.replace(USERS, columns=(NAME, ID)),
        *(
            msgspec.structs.replace(USERS, columns=(ID, column))
            for column in (
                msgspec.structs.replace(NAME, name="other"),
                msgspec.structs.replace(NAME, type_oid=1),
                msgspec.structs.replace(NAME, type_modifier=9),
                msgspec.structs.replace(NAME, in_identity=True),
                msgspec.structs.replace(NAME, form=JsonForm.JSON),
            )
        ),
    ],
)
def test_every_fact_makes_another_version(other: Relation) -> None:
    assert other != USERS


def test_the_same_facts_make_an_equal_version() -> None:
    assert msgspec.structs.replace(USERS) == USERS
    assert hash(msgspec.structs.replace(USERS)) == hash(USERS)


def test_people_read_the_name_with_its_schema() -> None:
    assert USERS.qualified_name == "public.t"


@pytest.mark.parametrize(
    ("letter", "name"), [("d", "DEFAULT"), ("n", "NOTHING"), ("f", "FULL"), ("i", "INDEX")]
)
def test_the_letters_of_relreplident_name_the_identities(letter: str, name: str) -> None:
    assert Identity(letter) is Identity[name]
