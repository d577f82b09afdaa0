"""Items of one sense, each of one class: what classification needs to know of its data."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omni.items import Item


class Classes(ABC):
    """Items by split, none of them read yet, and the classes that they are of.

    Attributes:
        labels: of each split, for each item the place of its class in `classes`.
        classes: as the data call them.
        names: one or several of each class.
        templates: prompts, in which {} stands for a name.
        sense: `image` or `audio`.
        trials: splits that are tested, each with those from which a probe may learn: none, or one,
            or one and another to choose its strength on.
    """

    labels: dict[str, list[int]]
    classes: list[str]
    names: list[list[str]]
    templates: list[str]
    sense: str
    trials: dict[str, list[str]]

    @abstractmethod
    def items(self, split: str) -> Iterator[list[Item]]:
        """The items of a split in blocks. Raises `ValueError`, naming it, for a damaged one."""


def read_names(path: Path, classes: list[str]) -> list[list[str]]:
    """The names of each class, by the file at `path`; without one, underscores are spaces.

    Raises `ValueError`, naming the file, for what are no names.
    """
    if not path.exists():
        return [[name.replace("_", " ")] for name in classes]
    told = read_json(path)
    if not isinstance(told, dict):
        raise ValueError(f"{path} must be an object of names by folder, got {type(told).__name__}")
    names = []
    for name in classes:
        value = told.get(name)
        some = [value] if isinstance(value, str) else value
        if not is_texts(some):
            raise ValueError(f"{path}: class {name!r} must have a name or several, got {value!r}")
        names.append(some)
    return names


def read_templates(path: Path) -> list[str]:
    """The prompts. Raises `ValueError`, naming the file, for what are none."""
    templates = read_json(path) if path.exists() else ["{}"]
    if not is_texts(templates) or not all("{}" in text for text in templates):
        raise ValueError(f"{path} must be a list of texts with {{}} for the name, got {templates}")
    return templates


def is_texts(value: Any) -> bool:
    """Whether it is a list of texts, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(t, str) and t for t in value)


def read_json(path: Path) -> Any:
    """What a file holds. Raises `ValueError`, naming it, for what is no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
