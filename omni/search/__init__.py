"""A search engine for items of all senses: vectors on disk, what is known of them in SQLite.

A folder holds `vectors.f32`, to which rows are only ever added, `catalogue.db`, which says how many
of them count and whose they are, and for what is large `codes-ROWS.faiss` of the first of them.
One transaction of the catalogue makes a whole change visible, or none of it: what a kill leaves
behind the last row that counts is written over by the next change.
"""

from omni.search.index import Entry, Hit, Index

__all__ = ["Entry", "Hit", "Index"]
