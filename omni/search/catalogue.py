"""What is known of the rows of an index, in SQLite: items, their vectors, and how many count.

Letters: R rows of vectors.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

SCHEMA = """
create table about (name text primary key, value text not null) without rowid;
create table items (id integer primary key autoincrement, name text unique not null, meta text);
create table vectors (
    row integer primary key, item integer not null references items on delete cascade, sense text
);
create index vectors_of_items on vectors (item);
"""
VERSION = 1
WAIT = 5.0
"""seconds for which a change waits until that of another process is done"""
MANY = 500
"""values of one statement, of which SQLite takes some thousands"""


class Catalogue:
    """The database of one index; opened for each process anew.

    Readers see the last whole change while another is being made (write-ahead log).

    Args:
        path: of the database.
        about: what a new index is of; without it the database must be there.

    Raises:
        ValueError: there is none, or it is of another kind or version.
    """

    def __init__(self, path: Path, about: Mapping[str, str] | None = None) -> None:
        if about is None and not path.is_file():
            raise ValueError(f"{path.parent} holds no index: there is no {path.name} in it")
        self.connection = sqlite3.connect(path, WAIT, isolation_level=None, check_same_thread=False)
        self.connection.execute("pragma foreign_keys = on")
        self.connection.execute("pragma synchronous = full")
        if about is not None:
            self.connection.execute("pragma journal_mode = wal")
            with self.change():
                for statement in SCHEMA.split(";"):
                    self.connection.execute(statement)
                told = {"version": str(VERSION), "rows": "0", **about}
                self.connection.executemany("insert into about values (?, ?)", told.items())
        try:
            version = self.about("version")
        except (sqlite3.DatabaseError, KeyError) as error:
            raise ValueError(f"{path} is no catalogue of an index: {error}") from error
        if version != str(VERSION):
            raise ValueError(f"{path} is of version {version}; this program reads {VERSION}")

    @contextmanager
    def change(self) -> Iterator[None]:
        """A transaction: all of what is done within, or nothing.

        Raises `ValueError` while another process changes something, after some seconds.
        """
        try:
            self.connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise ValueError(f"another process is changing the index: {error}") from error
        try:
            yield
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    def about(self, name: str) -> str:
        """A fact of the index. Raises `KeyError` for one that it has not."""
        found = self.connection.execute("select value from about where name = ?", (name,))
        if (row := found.fetchone()) is None:
            raise KeyError(name)
        return row[0]

    @property
    def rows(self) -> int:
        """Rows of the matrix that count, deleted ones included."""
        return int(self.about("rows"))

    def set_rows(self, rows: int) -> None:
        """Within a change."""
        self.connection.execute("update about set value = ? where name = 'rows'", (str(rows),))

    def state(self) -> tuple[int, int]:
        """Another after every change, whoever made it."""
        (others,) = self.connection.execute("pragma data_version").fetchone()
        return others, self.connection.total_changes

    def put(self, name: str, meta: Mapping[str, Any], vectors: Mapping[str, int]) -> None:
        """An item and the row of each of its senses; one of that name keeps its id."""
        told = json.dumps(meta, ensure_ascii=False, allow_nan=False)
        found = self.connection.execute(
            "insert into items (name, meta) values (?, ?)"
            " on conflict (name) do update set meta = excluded.meta returning id",
            (name, told),
        )
        (item,) = found.fetchone()
        self.connection.execute("delete from vectors where item = ?", (item,))
        rows = [(row, item, sense) for sense, row in vectors.items()]
        self.connection.executemany("insert into vectors values (?, ?, ?)", rows)

    def delete(self, names: Iterable[str]) -> int:
        """Forgets items; how many there were of those names."""
        before = len(self)
        self.connection.executemany("delete from items where name = ?", [(n,) for n in names])
        return before - len(self)

    def __len__(self) -> int:
        """Items."""
        return self.connection.execute("select count(*) from items").fetchone()[0]

    def num_vectors(self) -> int:
        """Rows that belong to an item."""
        return self.connection.execute("select count(*) from vectors").fetchone()[0]

    def allowed(
        self, senses: Sequence[str] = (), where: Mapping[str, str | int | float] | None = None
    ) -> Int[np.ndarray, "R"]:
        """Rows of items whose metadata are as said, in order; only of some senses, if any are.

        Raises `ValueError` for a name of metadata that holds a quotation mark.
        """
        clauses, values = ["true"], []
        if senses:
            clauses.append(f"sense in ({', '.join('?' * len(senses))})")
            values += senses
        for name, value in (where or {}).items():
            if '"' in name:
                raise ValueError(f"a name of metadata must hold no quotation mark, got {name!r}")
            clauses.append("json_extract(meta, ?) = ?")
            values += [f'$."{name}"', value]
        join = " join items on items.id = vectors.item" if where else ""
        query = f"select row from vectors{join} where {' and '.join(clauses)} order by row"
        found = self.connection.execute(query, values)
        return np.fromiter((row for (row,) in found), np.int64)

    def describe(self, rows: Sequence[int]) -> dict[int, tuple[int, str, str, str]]:
        """Id, name, sense and metadata, as JSON, of the item of each row that has one."""
        told = {}
        for start in range(0, len(rows), MANY):
            some = rows[start : start + MANY]
            found = self.connection.execute(
                "select row, id, name, sense, meta from vectors join items on id = item"
                f" where row in ({', '.join('?' * len(some))})",
                [int(row) for row in some],
            )
            told |= {row: tuple(rest) for row, *rest in found}
        return told

    def find(self, id: int) -> tuple[str, dict[str, Any]] | None:
        """Name and metadata of an item; None where there is none of this id."""
        found = self.connection.execute("select name, meta from items where id = ?", (id,))
        return None if (row := found.fetchone()) is None else (row[0], json.loads(row[1]))

    def id_of(self, name: str) -> int:
        """The id of an item. Raises `KeyError` for one that it has not."""
        found = self.connection.execute("select id from items where name = ?", (name,))
        if (row := found.fetchone()) is None:
            raise KeyError(name)
        return row[0]

    def close(self) -> None:
        """Gives the file back."""
        self.connection.close()
