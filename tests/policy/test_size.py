"""Nothing grows unseen. Where a limit is met, delete or split; raising it is a decision."""

import ast
import dataclasses
import typing

from omni.config import Config

MAX_PACKAGE_LINES = 19_000  # until tokens are counted: lines must not be pressed together
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FIELDS = 84  # each is a flag of train.py


def num_lines(source: str) -> int:
    return len(source.splitlines())


def long_functions(sources: dict[str, str]) -> list[str]:
    """Describe every function or method over the limit, decorators not counted."""
    return [
        f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]


def num_fields(kind: type) -> int:
    """Count the leaf fields of a dataclass; one in `X | None` or `tuple[X, ...]` counts once."""
    count = 0
    for hint in typing.get_type_hints(kind).values():
        nested = [k for k in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(k)]
        count += sum(num_fields(k) for k in nested) if nested else 1
    return count


def test_the_package_stays_small(sources):
    total = sum(num_lines(text) for path, text in sources.items() if path.startswith("omni/"))
    assert total <= MAX_PACKAGE_LINES


def test_every_file_stays_small(sources):
    sizes = {path: num_lines(source) for path, source in sources.items()}
    assert {path: size for path, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_every_function_stays_small(sources):
    assert long_functions(sources) == []


def test_the_number_of_flags_stays_small():
    assert num_fields(Config) <= MAX_FIELDS


def test_a_long_function_is_caught():
    method = "class A:\n    def f(self):\n" + "        pass\n" * MAX_FUNCTION_LINES
    assert len(long_functions({"a.py": method})) == 1
    assert long_functions({"a.py": method.removesuffix("        pass\n")}) == []


def test_fields_are_counted_through_nested_dataclasses():
    Inner = dataclasses.make_dataclass("Inner", [("a", int), ("b", tuple[int, ...])])
    Outer = dataclasses.make_dataclass(
        "Outer", [("one", Inner), ("two", Inner | None), ("many", tuple[Inner, ...]), ("c", str)]
    )
    assert num_fields(Outer) == 7
