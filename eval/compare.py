"""Figures side by side: `python -m eval.compare A/results.json B/results.json [...]`.

Prints a Markdown table of the figures that A and others have, with their differences from A. What
was not measured in the same way is not compared: the field that differs is named with both values,
and the exit code is 1. Models, weights, code, machine and time may differ.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from eval.metrics import Score
from eval.protocol import RUN, card, words
from eval.table import figure, interval

Refusal = tuple[str, Any, Any]
"""a field of the protocol, and its two values"""
FIELDS = {field.name for field in fields(Score)}
META = (*RUN, "protocols")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table and what was refused."""
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__)
    parser.add_argument("first", type=Path, help="results.json to compare with")
    parser.add_argument("others", type=Path, nargs="+", help="results.json of others")
    given = parser.parse_args(arguments)
    try:
        first, *others = [read(path) for path in (given.first, *given.others)]
    except (ValueError, OSError) as error:
        fail(str(error))
    names = [name for name in first["results"] if any(name in o["results"] for o in others)]
    if not names:
        fail(f"{given.first} has no figure that another has, too")
    faults = {}
    print("\n".join(table(first, others, names, faults)))
    if faults:
        print("\n".join(["", "Refused:", "", *refusals(faults)]))
        sys.exit(1)


def fail(message: str) -> NoReturn:
    """Says in one line what is wrong, and exits with code 2."""
    sys.stderr.write(f"compare: {' '.join(message.split())}\n")
    sys.exit(2)


def read(path: Path) -> dict[str, Any]:
    """A results.json, checked. Raises `ValueError`, naming it, for what is none with protocols."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict) or not {"meta", "results"} <= {*found}:
        raise ValueError(f"{path} must hold meta and results, as eval.run writes them")
    if missing := [field for field in META if field not in found["meta"]]:
        raise ValueError(f"{path}: meta has no {missing[0]}: measure it again")
    for name, score in found["results"].items():
        if not {*score} <= FIELDS or score.get("task") not in found["meta"]["protocols"]:
            raise ValueError(f"{path}: {name} must name its task, got {score}")
    return found


def table(
    first: Mapping, others: Sequence[Mapping], names: Sequence[str], faults: dict
) -> Iterator[str]:
    """The lines of the table; what is refused is put into `faults`, by the number of the file."""
    told = [model(results) for results in (first, *others)]
    heads = ["figure", told[0], *(head for name in told[1:] for head in (name, "difference", ""))]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    for name in names:
        cells = [shown(first, name)]
        for number, other in enumerate(others, 2):
            if name not in other["results"]:
                cells += ["", "", ""]
            elif found := differing(card(first, name), card(other, name)):
                cells += [shown(other, name), "", "refused"]
                for fault in found:
                    faults.setdefault((number, fault[0], *map(words, fault[1:])), []).append(name)
            else:
                cells += [shown(other, name), *difference(first, other, name)]
        yield f"| {name.replace('|', ' ')} | {' | '.join(cells)} |"


def model(results: Mapping) -> str:
    """What stands above a column."""
    meta = results["meta"]
    return f"{meta.get('model', '')} ({meta.get('weights', '')[:8]})"


def shown(results: Mapping, name: str) -> str:
    """A figure and its interval."""
    score, metric = score_of(results, name), name.rsplit("/", 1)[1]
    small = interval(score, metric)
    return figure(score.value, metric) + (f" <sub>{small}</sub>" if small else "")


def score_of(results: Mapping, name: str) -> Score:
    """A figure as it was measured."""
    return Score(**results["results"][name])


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Refusal]:
    """The fields in which two protocols differ."""
    known = [*one, *(name for name in other if name not in one)]
    pairs = ((name, one.get(name, "nothing"), other.get(name, "nothing")) for name in known)
    return [(name, a, b) for name, a, b in pairs if a != b]


def difference(first: Mapping, other: Mapping, name: str) -> list[str]:
    """How far the other is from the first, and whether their intervals overlap."""
    a, b = score_of(first, name), score_of(other, name)
    metric = name.rsplit("/", 1)[1]
    more = "+" if b.value >= a.value else "−"
    overlap = a.low <= b.high and b.low <= a.high
    note = "intervals overlap" if overlap else "intervals apart"
    return [more + figure(abs(b.value - a.value), metric), note]


def refusals(faults: Mapping[tuple[int, str, str, str], Sequence[str]]) -> Iterator[str]:
    """A line for each field and pair of values, with the figures that are not compared."""
    for (number, field, one, other), names in faults.items():
        yield f"- file {number}, {field}: {one} ≠ {other}; {len(names)}: {', '.join(names)}"


if __name__ == "__main__":
    main()
