"""The same index in a Milvus, where one machine is too small: a server, or a local file.

Letters: Q queries, D width.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float

from omni.batch import SENSES
from omni.search.index import Entry, Hit, check, check_queries

COLLECTION = "omni_"
"""what its name begins with; the model follows, for which there is no other place in all of them"""
TOGETHER = 1000
"""items that are sent at once"""
NAME = 1024
"""bytes of a name"""


class Milvus:
    """A collection of a Milvus with the methods of `Index`: a row a vector, found exactly or not.

    What it does with the vectors is its own business (index type AUTOINDEX). Unlike an `Index` it
    shows a change part by part, and the id of an item is a digest of its name.

    Args:
        uri: of a server, whose token $MILVUS_TOKEN holds, or the name of a local file.
        width: D.
        model: of which there is a collection.

    Raises:
        ValueError: there is no pymilvus, or no such Milvus; so does every method.
    """

    def __init__(self, uri: str, width: int = 0, model: str = "") -> None:
        self.uri = uri
        try:
            import pymilvus
        except ImportError as error:
            raise ValueError(f"milvus:{uri} needs: pip install -e '.[milvus]' ({error})") from error
        self._error = pymilvus.MilvusException
        with self._told():
            self.client: Any = pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
        self.width, self.model = width, model

    @staticmethod
    def create(uri: str, width: int, model: str) -> "Milvus":
        """An empty one of a model, whose name must be letters, digits and `_`.

        Raises `ValueError` where there is one.
        """
        made = Milvus(uri, width, model)
        if model in made._models():
            raise ValueError(f"milvus:{uri} holds an index already: add to it, or delete it")
        with made._told():
            _make(made.client, made.collection, width)
        return made

    @staticmethod
    def build(uri: str, width: int, model: str, entries: Iterable[Entry]) -> tuple["Milvus", int]:
        """Make one of these entries, and take it away again where that fails; how many they were.

        Raises `ValueError` where there is one.
        """
        index = Milvus.create(uri, width, model)
        try:
            return index, index.add(entries)
        except BaseException:
            with index._told():
                index.client.drop_collection(index.collection)
            raise

    @staticmethod
    def open(uri: str, model: str | None = None) -> "Milvus":
        """The one of a model. Raises `ValueError` where there is none; none named is the only."""
        index = Milvus(uri)
        known = index._models()
        if (model or len(known) != 1) and model not in known:
            told = f"indexes of the models {', '.join(known)}" if known else "no index"
            raise ValueError(f"milvus:{uri} holds {told}; wanted is that of {model or 'one'}")
        index.model = model or known[0]
        with index._told():
            fields = index.client.describe_collection(index.collection)["fields"]
        index.width = next(f["params"]["dim"] for f in fields if f["name"] == "vector")
        return index

    @property
    def collection(self) -> str:
        """Its name."""
        return COLLECTION + self.model

    def _models(self) -> list[str]:
        with self._told():
            names = self.client.list_collections()
        return [n.removeprefix(COLLECTION) for n in names if n.startswith(COLLECTION)]

    def __len__(self) -> int:
        """Items."""
        return self._count("first == true")

    def num_vectors(self) -> int:
        """Of all items."""
        return self._count("")

    def add(self, entries: Iterable[Entry]) -> int:
        """Puts them in, some at a time; how many. One whose name is there takes its place."""
        count, left = 0, iter(entries)
        while some := {entry.name: entry for entry in islice(left, TOGETHER)}:
            rows = [row for entry in some.values() for row in _rows(entry, self.width)]
            self.delete(some)
            with self._told():
                self.client.insert(self.collection, rows)
            count += len(some)
        return count

    def delete(self, names: Iterable[str]) -> int:
        """Forgets the items of these names; how many there were."""
        chosen = f"name in {_literal([*names])}"
        count = self._count(f"{chosen} and first == true")
        with self._told():
            self.client.delete(self.collection, filter=chosen)
        return count

    def search(
        self,
        queries: Float[np.ndarray, "Q D"],
        k: int = 10,
        senses: Sequence[str] = (),
        where: Mapping[str, str | int | float] | None = None,
    ) -> list[list[Hit]]:
        """As `Index.search` does."""
        queries = check_queries(queries, self.width, k)
        clauses = [f"sense in {_literal([*senses])}"] if senses else []
        for name, value in (where or {}).items():
            if '"' in name:
                raise ValueError(f"a name of metadata must hold no quotation mark, got {name!r}")
            clauses.append(f'meta["{name}"] == {_literal(value)}')
        with self._told():
            found = self.client.search(
                self.collection, [*queries], filter=" and ".join(clauses),
                limit=k * max(1, len(senses or SENSES)), output_fields=["name", "sense", "meta"],
            )  # fmt: skip
        return [_hits(some, k) for some in found]

    def optimize(self, track: Callable[[range], Iterable[int]] = iter) -> bool:
        """Nothing: a Milvus does that by itself."""
        return False

    def close(self) -> None:
        """Lets go of the server or the file."""
        self.client.close()

    def _count(self, chosen: str) -> int:
        with self._told():
            (row,) = self.client.query(self.collection, filter=chosen, output_fields=["count(*)"])
        return row["count(*)"]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the Milvus cannot do is a `ValueError` of one line."""
        try:
            yield
        except self._error as error:
            raise ValueError(f"milvus:{self.uri}: {str(error.message).splitlines()[0]}") from error


def _make(client: Any, collection: str, width: int) -> None:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=NAME + 8)
    schema.add_field("name", DataType.VARCHAR, max_length=NAME)
    schema.add_field("sense", DataType.VARCHAR, max_length=8)
    schema.add_field("first", DataType.BOOL)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
    how = client.prepare_index_params()
    how.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection(
        collection, schema=schema, index_params=how, consistency_level="Session"
    )


def _rows(entry: Entry, width: int) -> list[dict[str, Any]]:
    check(entry, width)
    return [
        {
            "key": f"{entry.name}/{sense}", "name": entry.name, "sense": sense, "first": not number,
            "meta": dict(entry.meta), "vector": vector,
        }
        for number, (sense, vector) in enumerate(entry.vectors.items())
    ]  # fmt: skip


def _literal(value: Any) -> str:
    """As Milvus' filters have it: strings are quoted as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _hits(found: Iterable[Mapping[str, Any]], k: int) -> list[Hit]:
    hits: dict[str, Hit] = {}
    for row in found:
        of = row["entity"]
        if of["name"] not in hits:
            digest = hashlib.sha256(of["name"].encode()).digest()[:7]
            id = int.from_bytes(digest)
            hits[of["name"]] = Hit(id, of["name"], of["sense"], row["distance"], of["meta"])
    return [*hits.values()][:k]
