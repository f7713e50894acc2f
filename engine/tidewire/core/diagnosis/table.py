"""Can a table be followed, and what may be asked of it?

`find_obstacle` is what the engine goes by when a client asks for a table, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidewire.core.diagnosis.facts import Facts, Standing, Table
from tidewire.core.diagnosis.finding import Finding, note, ok, problem
from tidewire.core.shape.types import equality_fault, order_fault

_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
    "t": "a TOAST table",
}


def judge_tables(facts: Facts) -> Iterator[Finding]:
    """Judge the tables, one by one."""
    for name in facts.missing_tables:
        yield problem(
            "table_missing",
            "there is no such table",
            note("create it, or name it as it stands in the catalog: table, or schema.table"),
            subject=name,
        )
    for table, standing in facts.tables:
        yield from judge_table(table, standing, facts)


def judge_table(table: Table, standing: Standing, facts: Facts) -> Iterator[Finding]:
    """Judge one table."""
    name, faults = table.name, [*_rights(table, standing)]
    if obstacle := find_obstacle(table):
        yield from [obstacle, *faults]
        return
    if not standing.is_published and not standing.is_owner:
        faults.append(_owner(table, standing))
    if standing.is_narrowed and facts.publication is not None:
        faults.append(_narrowed(table, facts.publication.name))
    yield from faults
    if not faults:
        text = f"can be followed by its key ({', '.join(table.key)})"
        if standing.generated:
            text += f", without its generated columns ({', '.join(standing.generated)})"
        yield ok("table", text, subject=name)
    yield _conditions(table, standing)


def find_obstacle(table: Table) -> Finding | None:
    """Find what keeps a table from being followed at all, if anything does."""
    name = table.name
    if table.kind not in ("r", "p"):
        text = f"is {_KINDS.get(table.kind, 'not a table')}: only tables can be followed"
        return _obstacle(name, text, note("follow the tables that it is made of"))
    if table.is_partition:
        text = "is a partition: follow the table that it is a part of"
        return _obstacle(name, text, note(f"which is {table.root}"))
    if table.persistence == "t":
        text = "is temporary: its changes are not in the write-ahead log"
        return _obstacle(name, text, note("make it a plain table"))
    if table.persistence == "u":
        text = "is unlogged: its changes are not in the write-ahead log"
        return _obstacle(name, text, f"ALTER TABLE {name} SET LOGGED;")
    if table.hides_rows:
        text = "has row-level security, which the write-ahead log does not know"
        return _obstacle(name, text, f"ALTER ROLE {table.role} BYPASSRLS;")
    if table.identity == "n" or not table.key:
        return _unnamed(table)
    if table.poorer:
        return _poorer(table)
    return None


def _unnamed(table: Table) -> Finding:
    name, columns = table.name, ", ".join(table.primary_key)
    if table.identity in "ni" and table.primary_key:
        text = "has no replica identity: its UPDATE and DELETE fail once it is published"
        return _obstacle(name, text, f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;")
    if table.primary_key:
        text = "has a primary key that is deferrable, so that two rows may share it for a while"
        return _obstacle(
            name,
            text,
            f"ALTER TABLE {name} DROP CONSTRAINT {table.primary_key_name}, "
            f"ADD PRIMARY KEY ({columns});",
        )
    text = "has no primary key: its UPDATE and DELETE fail once it is published"
    if table.unique_index is not None:
        index = f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {table.unique_index};"
        return _obstacle(name, text, index)
    default = [f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;"] if table.identity in "ni" else []
    if "id" in table.columns:
        return _obstacle(name, text, f"ALTER TABLE {name} ADD PRIMARY KEY (id);", *default)
    return _obstacle(
        name,
        text,
        note("this rewrites the table under a lock; or: ADD PRIMARY KEY (its columns)"),
        f"ALTER TABLE {name} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
        *default,
    )


def _poorer(table: Table) -> Finding:
    # PostgreSQL would label such an old row as whole, and its missing values would read as NULL.
    wanted = "DEFAULT" if table.identity == "d" else "FULL"
    return problem(
        "table_partitions",
        f"the log tells less of old rows in {', '.join(table.poorer)} than in the whole table",
        *(f"ALTER TABLE {each} REPLICA IDENTITY {wanted};" for each in table.poorer),
        subject=table.name,
    )


def _obstacle(name: str, text: str, *remedy: str) -> Finding:
    return problem("table", text, *remedy, subject=name)


def _rights(table: Table, standing: Standing) -> Iterator[Finding]:
    grants = []
    if not standing.may_use_schema:
        grants.append(f"GRANT USAGE ON SCHEMA {standing.schema} TO {table.role};")
    if not standing.may_select:
        grants.append(f"GRANT SELECT ON {table.name} TO {table.role};")
    if grants:
        yield problem(
            "table_rights", f"role {table.role} may not read it", *grants, subject=table.name
        )


def _owner(table: Table, standing: Standing) -> Finding:
    # Who is granted the owner's rights does not take them from the application. A superuser loses
    # nothing with a table, and should grant nobody what it may do.
    remedy = [f"GRANT {standing.owner} TO {table.role};"]
    if standing.owner_is_superuser:
        remedy = [f"ALTER TABLE {table.name} OWNER TO {table.role};"]
    return problem(
        "table_owner",
        f"role {table.role} is not its owner ({standing.owner}), and so may not publish it",
        *remedy,
        subject=table.name,
    )


def _narrowed(table: Table, publication: str) -> Finding:
    return problem(
        "table_publication",
        "only some of its rows or columns are published, and clients miss the others",
        "BEGIN;",
        f"ALTER PUBLICATION {publication} DROP TABLE {table.name};",
        f"ALTER PUBLICATION {publication} ADD TABLE {table.name};",
        "COMMIT;",
        subject=table.name,
    )


def _conditions(table: Table, standing: Standing) -> Finding:
    is_full = table.identity == "f"
    usable, without_order, faults = [], [], []
    for name, type in standing.types.items():
        if fault := equality_fault(type):
            faults.append(f"{name} {fault}")
        elif is_full or name in table.key:
            usable.append(name)
            without_order += [name] if order_fault(type) else []
    text = f"conditions may use {', '.join(usable) or 'no column'}"
    if without_order:
        text += f" (no < or > of {', '.join(without_order)})"
    if is_full:
        return ok("table_conditions", "; ".join([text, *faults]), subject=table.name)
    text += ", and others with REPLICA IDENTITY FULL"
    full = f"ALTER TABLE {table.name} REPLICA IDENTITY FULL;"
    return ok("table_conditions", text, full, subject=table.name)
