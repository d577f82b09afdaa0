"""What a job may be: the commands that a person types, from a closed list, without a path."""

import dataclasses
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from omni.config import Config
from omni.presets import PRESETS
from omni.serve.body import Body
from omni.validation import validate

ROOT = Path(__file__).resolve().parents[2]
"""the checkout, whose train.py and eval are no part of what is installed"""
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
Value = bool | int | float


def _leaves(kind: type, prefix: str = "") -> Iterator[tuple[str, set[type]]]:
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", {hint, *typing.get_args(hint)}


FIELDS = {name: kinds & {bool, int, float} for name, kinds in _leaves(Config)}
"""of a run, by name, the types that may be set; none where it is a word or a place"""


class Order(Body):
    """A job that is asked for."""

    def words(self, data: Mapping[str, Path]) -> list[str]:
        """The command. Raises `ValueError` for what it cannot do; data sets are known by name."""
        raise NotImplementedError


class Train(Order):
    """python train.py."""

    kind: Literal["train"]
    preset: str
    name: Slug
    data: str | None = None
    fields: Annotated[dict[str, Value], Field(default_factory=dict, max_length=32)]
    resume: bool = False

    def words(self, data: Mapping[str, Path]) -> list[str]:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}")
        words = [str(program("train.py")), self.preset, "--name", self.name]
        if self.data is not None:
            words += ["--data.path", str(place(data, self.data))]
        config = replace(PRESETS[self.preset](), name=self.name)
        for name, value in self.fields.items():
            words += flag(name, value)
            config = with_field(config, name, value)
        validate(config)
        return [sys.executable, *words, *(["--resume"] if self.resume else [])]


class Evaluate(Order):
    """python -m eval.run."""

    kind: Literal["evaluate"]
    run: Slug
    data: str | None = None
    tasks: Annotated[list[Slug], Field(default_factory=list, max_length=16)]

    def words(self, data: Mapping[str, Path]) -> list[str]:
        program("eval/run.py")
        words = [sys.executable, "-m", "eval.run", f"runs/{self.run}", *self.tasks]
        return words + (["--data", str(place(data, self.data))] if self.data is not None else [])


class Build(Order):
    """omni index build."""

    kind: Literal["index"]
    run: Slug
    data: str
    name: Slug

    def words(self, data: Mapping[str, Path]) -> list[str]:
        words = ["index", "build", f"runs/{self.run}/indexes/{self.name}"]
        words += [str(place(data, self.data)), "--model", f"runs/{self.run}"]
        return [sys.executable, "-m", "omni", *words]


Orders = Annotated[Train | Evaluate | Build, Field(discriminator="kind")]


def flag(name: str, value: Value) -> list[str]:
    """A field of a run as train.py takes it. Raises `ValueError`."""
    kinds = FIELDS.get(name, set())
    whole = type(value) is int and float in kinds
    if type(value) not in kinds and not whole:
        has = " or ".join(sorted(kind.__name__ for kind in kinds))
        told = f"must be {has}" if has else "is none that may be set here"
        raise ValueError(f"fields.{name[:60]} {told}")
    if type(value) is bool:
        head, _, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{head}.no-{last}"]
    return [f"--{name}", str(value)]


def with_field(config: Any, name: str, value: Value) -> Any:
    """A config with another value in a field, whose name may lead through sections."""
    section, _, rest = name.partition(".")
    return replace(
        config, **{section: with_field(getattr(config, section), rest, value) if rest else value}
    )


def place(data: Mapping[str, Path], name: str) -> Path:
    """The folder of a data set. Raises `ValueError` for one that the service was not given."""
    if name not in data:
        raise ValueError(f"data must be one of {', '.join(data) or 'none: see omni serve --data'}")
    return data[name].absolute()


def program(name: str) -> Path:
    """A program of the checkout. Raises `ValueError` where there is none."""
    if not (ROOT / name).is_file():
        raise ValueError(f"{name} is no part of what pip installs: serve from a checkout of it")
    return ROOT / name


def offers(data: Mapping[str, Path]) -> dict[str, Any]:
    """What may be asked for, for a form: presets, data sets, and fields with what they hold."""
    fields = {
        name: sorted(kind.__name__ for kind in kinds) for name, kinds in FIELDS.items() if kinds
    }
    return {"presets": [*PRESETS], "data": [*data], "fields": fields}
