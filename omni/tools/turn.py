"""A turn of a dialogue in which a language model may call tools, as text: the grammar of MOSS."""

import json
import re
from dataclasses import dataclass, fields

MARKS = {
    "human": ("<|Human|>:", "<eoh>"),
    "thoughts": ("<|Inner Thoughts|>:", "<eot>"),
    "commands": ("<|Commands|>:", "<eoc>"),
    "results": ("<|Results|>:", "<eor>"),
    "answer": ("<|MOSS|>:", "<eom>"),
}
"""what each field begins and ends with (github.com/OpenMOSS/MOSS)"""
MARK = re.compile("|".join(re.escape(mark) for pair in MARKS.values() for mark in pair))
TURN = re.compile(
    r"\n".join(f"{re.escape(a)} (?P<{name}>.*?){re.escape(b)}" for name, (a, b) in MARKS.items()),
    re.DOTALL,
)
CALL = re.compile(r'([A-Za-z]\w*)\(("(?:[^"\\]|\\.)*")\)', re.ASCII)
NONE = "None"
"""a field that holds nothing"""


@dataclass(frozen=True)
class Turn:
    """What the human says, what the model thinks and calls, what comes back, and the answer.

    Raises `ValueError` for a field that holds a mark of the grammar.
    """

    human: str
    thoughts: str = NONE
    commands: str = NONE
    results: str = NONE
    answer: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if found := MARK.search(getattr(self, field.name)):
                raise ValueError(f"{field.name} of a turn must hold no mark, has {found[0]!r}")

    def __str__(self) -> str:
        """As it is written; `parse` reads it."""
        return "\n".join(f"{a} {getattr(self, name)}{b}" for name, (a, b) in MARKS.items())

    @staticmethod
    def parse(text: str) -> "Turn":
        """A turn that is written down. Raises `ValueError` for any other text."""
        if (found := TURN.fullmatch(text.strip("\n"))) is None:
            raise ValueError(f"a turn must be {' '.join(a for a, _ in MARKS.values())} each with "
                             f"its end, got {text[:60]!r}")  # fmt: skip
        return Turn(**found.groupdict())


def calls(commands: str) -> list[tuple[str, str]]:
    """Names and arguments of the calls `Name("argument"), ...`; none of "None".

    Raises `ValueError` for anything else.
    """
    found, at, text = [], 0, commands.strip()
    while text != NONE and at < len(text):
        if (call := CALL.match(text, at)) is None:
            raise ValueError(f'a command must be Name("argument"), got {text[at : at + 60]!r}')
        try:
            found.append((call[1], json.loads(call[2])))
        except ValueError as error:
            raise ValueError(f"the argument of {call[1]} must be a JSON string: {error}") from error
        at = call.end()
        if at < len(text):
            comma = re.compile(r"\s*,\s*(?=\S)").match(text, at)
            if comma is None:
                raise ValueError(f"a comma must be between commands, got {text[at : at + 60]!r}")
            at = comma.end()
    return found


def without_marks(text: str) -> str:
    """What somebody else has written, so that it can close no field and open none."""
    while MARK.search(text):
        text = MARK.sub("", text)
    return text.strip()
