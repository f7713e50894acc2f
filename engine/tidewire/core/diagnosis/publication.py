"""Is the publication ours, and does it publish all that we count on?"""

from __future__ import annotations

from collections.abc import Iterator

from tidewire.core.diagnosis.facts import Facts, Publication
from tidewire.core.diagnosis.finding import Finding, note, ok, problem

_KINDS = "insert, update, delete, truncate"


def judge_publication(facts: Facts) -> Iterator[Finding]:
    """Judge the publication of this deployment."""
    publication = facts.publication
    if publication is None:
        yield ok("publication", "not there yet: the server makes it")
        return
    faults = list(_faults(publication, facts.server.role))
    yield from faults
    if not faults:
        yield ok("publication", f"{publication.name} is ours, and whole")


def _faults(publication: Publication, role: str) -> Iterator[Finding]:
    name = publication.name
    if publication.has_all_tables:
        yield _fault(
            "it publishes all tables: UPDATE and DELETE fail on those without a key",
            note("with the server stopped: it makes one that lists tables, and clients start over"),
            f"DROP PUBLICATION {name};",
        )
        return
    if publication.schemas:
        names = ", ".join(publication.schemas)
        yield _fault(
            f"it publishes whole schemas ({names}): UPDATE and DELETE fail on tables without a key",
            f"ALTER PUBLICATION {name} DROP TABLES IN SCHEMA {names};",
        )
    if publication.missing:
        yield _fault(
            f"it does not publish {', '.join(publication.missing)}, and clients miss that",
            f"ALTER PUBLICATION {name} SET (publish = '{_KINDS}');",
        )
    if not publication.is_via_root:
        yield _fault(
            "it publishes partitions by their own names, so that partitioned tables stand still",
            f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true);",
        )
    if not publication.is_ours:
        yield _fault(
            f"role {role} may not change it, and so cannot publish tables",
            f"ALTER PUBLICATION {name} OWNER TO {role};",
        )


def _fault(text: str, *remedy: str) -> Finding:
    return problem("publication", text, *remedy)
