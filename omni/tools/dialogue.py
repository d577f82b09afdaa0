"""A dialogue with tools: a language model calls them, reads what comes back, and answers.

The models of this repository are none that chat: any function that continues a text will do.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from omni.interface import Omni
from omni.search.index import Index
from omni.search.milvus import Milvus
from omni.tools.calculator import calculate
from omni.tools.turn import MARKS, NONE, Turn, calls, without_marks

MAX_CALLS, MAX_RESULT = 8, 2000
"""calls of a turn, and characters of what one gives back"""
FOUND = 5
"""items that a search gives back"""


class Writer(Protocol):
    """A language model: continues a text, up to a stop, with or without it."""

    def __call__(self, text: str, stop: str) -> str: ...


@dataclass(frozen=True)
class Tool:
    """A function from one text to a text, or to a thing that is shown, such as a picture."""

    name: str
    title: str
    argument: str
    run: Callable[[str], Any]


@dataclass
class Dialogue:
    """Its turns, and the things that were made in them.

    Each turn is written in two parts: the model stops at the end of its commands, these are run,
    and it goes on with what they gave (github.com/OpenMOSS/MOSS). A tool that is not among those
    `enabled` is refused; what it says of that, and of what goes wrong, the model reads.
    """

    write: Writer
    tools: Sequence[Tool]
    enabled: Collection[str]
    preamble: str = "You are a helpful assistant."
    turns: list[Turn] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if unknown := {*self.enabled} - {tool.name for tool in self.tools}:
            known = ", ".join(tool.name for tool in self.tools)
            raise ValueError(f"tools must be among {known}, got {', '.join(sorted(unknown))}")

    def say(self, human: str) -> str:
        """The answer. Raises `ValueError` where marks are in what is said, or misplaced after."""
        turn = Turn(human)
        start = f"{self._meta()}\n{MARKS['human'][0]} {human}{MARKS['human'][1]}\n"
        thoughts, end = MARKS["thoughts"]
        commands, stop = MARKS["commands"]
        written = self.write(f"{start}{thoughts}", stop).strip().removesuffix(stop)
        thought, found, called = written.partition(f"{end}\n{commands}")
        if not found:
            raise ValueError(f"thoughts must end in {end} and {commands}, got {written[:80]!r}")
        turn = replace(turn, thoughts=thought.strip(), commands=called.strip())
        turn = replace(turn, results=self._run(turn.commands))
        _, stop = MARKS["answer"]
        open_turn = f"{self._meta()}\n{str(turn).removesuffix(f' {stop}')}"
        written = self.write(open_turn, stop).strip().removesuffix(stop)
        self.turns.append(replace(turn, answer=written.strip()))
        return self.turns[-1].answer

    def _meta(self) -> str:
        """What the model reads first: the switches of the tools, and the turns so far."""
        switches = [
            f"- {tool.title}: enabled. API: {tool.name}({tool.argument})"
            if tool.name in self.enabled
            else f"- {tool.title}: disabled."
            for tool in self.tools
        ]
        return "\n".join([self.preamble, *switches, *map(str, self.turns)])

    def _run(self, commands: str) -> str:
        """What the calls give, a part a call; things are kept, and named by their number."""
        known = {tool.name: tool for tool in self.tools if tool.name in self.enabled}
        told = []
        try:
            wanted = calls(commands)
        except ValueError as error:
            return without_marks(str(error))
        for number, (name, argument) in enumerate(wanted):
            try:
                if number >= MAX_CALLS:
                    raise ValueError(f"a turn must have {MAX_CALLS} calls at most")
                if name not in known:
                    raise ValueError(f"there is no tool {name}, or it is disabled")
                result = known[name].run(argument)
                if not isinstance(result, str):
                    self.made.append(result)
                    result = f"{type(result).__name__} {len(self.made)}"
            except ValueError as error:
                result = f"Error: {error}"
            call = f"{name}({json.dumps(argument, ensure_ascii=False)})"
            told.append(f"{call} =>\n{without_marks(result)[:MAX_RESULT]}")
        return "\n".join(told) or NONE


def tools_of(model: Omni, index: Index | Milvus | None = None) -> list[Tool]:
    """A calculator, a search in the index where there is one, and pictures of texts."""

    def search(query: str) -> str:
        assert index is not None
        (hits,) = index.search(model.embed(query).numpy(), FOUND)
        lines = [f"<|{i}|>: {hit.meta.get('text', hit.name)}" for i, hit in enumerate(hits, 1)]
        return "\n".join(lines) or "No result."

    found = [
        Tool("Calculate", "Calculator", "expression", calculate),
        Tool(
            "Text2Image", "Text-to-image", "description", lambda text: model.generate(text, "image")
        ),
    ]
    return (
        found if index is None else [Tool("Search", "Search in the index", "query", search), *found]
    )
