"""A ledger of an earlier version as it would be in this one, seen by whoever only asks; nothing in it is changed.

A connection is given, for itself alone (TEMP), a view of each table that lacks columns, and an empty one where there is
no table. They hide the tables of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Column, Connection, Table, inspect

__all__ = ["documents_in", "domain_of_address", "planned_as_the_run", "seen_as_now"]


def seen_as_now(connection: Connection, tables: Sequence[Table], *, documents: Table) -> Iterator[str]:
    """The statements after which a connection sees an earlier version's tables as those of this one.

    Args:
        connection: reads the ledger.
        tables: of this version.
        documents: that of them which says what was signed.
    """
    there = {name: [one["name"] for one in columns] for name, columns in _columns(connection).items()}
    signed = next((name for name in ("signature", "approval") if "document" in there.get(name, ())), None)
    for table in tables:
        if table is documents and table.name not in there and signed is not None:
            # A table, as small as the approvals are few: each question would go through all rounds of a loop again.
            yield f"CREATE TEMP TABLE {table.name} AS {documents_in(connection, _outer(connection, signed))}"
            continue
        source = "approval" if table.name == "signature" and table.name not in there else table.name
        has = there.get(source, [])
        if source == table.name and all(column.name in has for column in table.columns):
            continue
        values = ", ".join(
            f"{_quoted(connection, column) if column.name in has else _instead(connection, column, bool(has))} "
            f"AS {_quoted(connection, column)}"
            for column in table.columns
        )
        rows = f"FROM {_outer(connection, source)}" if has else "WHERE 1 = 0"
        yield f"CREATE TEMP VIEW {table.name} AS SELECT {values} {rows}"


def _columns(connection: Connection) -> dict[str, list[dict[str, str]]]:
    found = inspect(connection)
    return {name: found.get_columns(name) for name in found.get_table_names()}  # type: ignore[misc]


def _outer(connection: Connection, table: str) -> str:
    """A table of the ledger, past what is TEMP."""
    return f"main.{table}" if connection.dialect.name == "sqlite" else table


def _quoted(connection: Connection, column: Column[object]) -> str:
    return connection.dialect.identifier_preparer.quote(column.name)


def _instead(connection: Connection, column: Column[object], has_rows: bool) -> str:
    """What a row of an earlier version is taken to hold in a column that came later."""
    if has_rows and column.name == "domain":
        return domain_of_address(connection)
    if has_rows and column.name == "planned_at":
        return planned_as_the_run(_outer(connection, "run"), _outer(connection, "delivery"))
    default = getattr(column.server_default, "arg", None)
    return f"CAST({'NULL' if default is None else repr(str(default))} AS {column.type.compile(connection.dialect)})"


def domain_of_address(connection: Connection) -> str:
    """The domain of a mail's address, in words of the database."""
    after = "split_part(address, '@', 2)"
    if connection.dialect.name != "postgresql":
        after = "substr(address, instr(address, '@') + 1)"
    return f"lower({after})"


def planned_as_the_run(runs: str, mails: str) -> str:
    """The moment at which a mail's run was planned, in words of the database."""
    return f"(SELECT created_at FROM {runs} AS planned WHERE planned.id = {mails}.run_id)"


def documents_in(connection: Connection, table: str) -> str:
    """A query of what was signed, once for each approval, where it stands in a row of each round."""
    place = "strpos" if connection.dialect.name == "postgresql" else "instr"
    standing = f"{place}(min(document), 'toolkit standing approval') > 0"
    return f"SELECT id, min(document) AS text, {standing} AS is_standing FROM {table} GROUP BY id"
