"""The calculator gives what arithmetic gives, and nothing else happens."""

import math
import random
from fractions import Fraction

import pytest

from omni.tools.calculator import calculate


def number(draws: random.Random, depth: int) -> tuple[str, Fraction]:
    """An expression and its value."""
    if depth == 0:
        value = draws.randint(1, 99)
        return str(value), Fraction(value)
    (a, x), (b, y) = number(draws, depth - 1), number(draws, depth - 1)
    every = {
        f"({a}) + ({b})": x + y,
        f"({a}) - ({b})": x - y,
        f"({a}) * ({b})": x * y,
        f"({a}) / ({b})": x / y if y else None,
        f"-({a})^3 + ({b})": y - x**3,
        f"({a})**-2 * ({b})": y / x**2 if x else None,
    }
    return draws.choice([(text, value) for text, value in every.items() if value is not None])


def test_it_counts_as_fractions_do() -> None:
    draws = random.Random(0)
    for _ in range(200):
        (a, x), (b, y) = (number(draws, 2) for _ in range(2))
        found = calculate(f"({a}) - 2 * ({b})")
        assert float(found) == pytest.approx(float(x - 2 * y), rel=1e-11)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2*3", "7"), ("-2^2", "-4"), ("2^3^2", "512"), ("2^-1", "0.5"), ("8/2/2", "2"),
        ("0.1 + 0.2", "0.3"), ("sqrt(16)", "4"), ("sqrt(2)^2", "2"), ("--3", "3"),
        ("2^900", str(2**900)), ("(1/3)^3*27", "1"), ("10^20 + 1", "100000000000000000001"),
    ],
)  # fmt: skip
def test_what_is_exact_stays_so(expression: str, value: str) -> None:
    assert calculate(expression) == value


def test_functions_are_those_of_mathematics() -> None:
    for name in ("sqrt", "sin", "cos", "tan", "exp", "log"):
        assert float(calculate(f"{name}(1.7)")) == pytest.approx(getattr(math, name)(1.7))
    assert float(calculate("sin(pi/6) + log(e)")) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("9^9^9", "a power must have"), ("(9^99)^99", "a power must have"),
        ("2^900*2^900", "the value must have"), ("exp(exp(exp(9)))", "is not taken of"),
        ("1/0", "divided by 0"), ("0^-1", "divided by 0"), ("sqrt(-1)", "a real number"),
        ("log(0)", "is not taken of"), ("1 2", "must end before '2'"), ("(1", "must be closed"),
        ("", "must go on"), ("1+", "must go on"), ("sin", "followed by a bracket"),
        ("__import__('os')", "must be arithmetic"), ("().__class__", "must be arithmetic"),
        ("lambda", "must go on"), ("(" * 60 + "1" + ")" * 60, "nested 30 deep"),
        ("-" * 150 + "1", "nested 30 deep"), ("1" * 201, "200 characters"),
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_or_too_large_is_refused(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        calculate(expression)
