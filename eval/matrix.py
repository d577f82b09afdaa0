"""Matrices of the report: what was taken for what, and their drawing."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Int

from eval.bench import Matrix

CELL, LETTER, FEW = 14.0, 5.2, 12
"""units of a cell's side and a letter's width; up to so many columns have their values written"""


def confusion(
    task: str,
    title: str,
    names: Sequence[str],
    truths: Int[np.ndarray, "N"],
    answers: Int[np.ndarray, "N"],
) -> Matrix:
    """Of each class (row) the share that was taken for each class (column)."""
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (truths, answers), 1)
    return Matrix(task, title, names, names, counts / np.maximum(1, counts.sum(1, keepdims=True)))


def drawn(matrix: Matrix) -> str:
    """The matrix as SVG; each cell says in words what it is."""
    wide = CELL * (2 if len(matrix.columns) <= FEW else 1)
    rows, columns = ([short(name) for name in some] for some in (matrix.rows, matrix.columns))
    left, top = (LETTER * max(map(len, some)) + 6 for some in (rows, columns))
    width, height = left + wide * len(matrix.columns), top + CELL * len(matrix.rows)
    parts = []
    for i, name in enumerate(rows):
        y = top + CELL * i
        parts.append(f'<text x="{left - 4}" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
    for j, name in enumerate(columns):
        x = left + wide * (j + 0.5) + 3
        parts.append(
            f'<text transform="translate({x} {top - 4}) rotate(-90)">{escape(name)}</text>'
        )
    for (i, j), value in np.ndenumerate(matrix.values):
        x, y = left + wide * j, top + CELL * i
        told = f"{matrix.rows[i]}, {matrix.columns[j]}: {value:.2f}"
        parts.append(
            f'<rect class="cell" x="{x}" y="{y}" width="{wide - 1}" height="{CELL - 1}" '
            f'fill-opacity="{0.06 + 0.94 * value:.2f}"><title>{escape(told)}</title></rect>'
        )
        if len(matrix.columns) <= FEW:
            dark = " dark" if value > 0.5 else ""
            at = f'x="{x + wide / 2}" y="{y + 10}"'
            parts.append(f'<text class="value{dark}" {at}>{100 * value:.0f}</text>')
    title = f"{matrix.title}: {len(matrix.rows)} rows, {len(matrix.columns)} columns"
    return (
        f"<figure><figcaption>{escape(matrix.title)}</figcaption>"
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width: {1.4 * width:.0f}px" '
        f'role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def short(name: str, limit: int = 24) -> str:
    """A name that is not too long for the margin."""
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
