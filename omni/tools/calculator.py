"""Arithmetic that is written down, exactly where it can be; nothing of it is ever evaluated.

sum = product (("+" | "-") product)*
product = sign (("*" | "/") sign)*
sign = ("+" | "-") sign | power
power = atom (("^" | "**") sign)?
atom = number | "pi" | "e" | function "(" sum ")" | "(" sum ")"
"""

import re

import sympy

LENGTH, DEPTH = 200, 30
"""characters of an expression, and things within one another in it"""
BITS = 1000
"""of a power, about, and of the value"""
DIGITS = 12
"""of what is not a whole number"""
LARGEST = 1e9
"""argument of a function"""
FUNCTIONS = {
    "sqrt": sympy.sqrt, "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "exp": sympy.exp,
    "log": sympy.log, "abs": sympy.Abs,
}  # fmt: skip
CONSTANTS = {"pi": sympy.pi.evalf(30), "e": sympy.E.evalf(30)}
TOKEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+|[a-z]+|\*\*|[-+*/^()])", re.ASCII)


def calculate(expression: str) -> str:
    """The value of an expression such as `2^10 / 3`. Raises `ValueError`."""
    if len(expression) > LENGTH:
        raise ValueError(f"expression must have {LENGTH} characters at most, has {len(expression)}")
    reading = _Reading(expression)
    value = reading.sum()
    if reading.next():
        raise ValueError(f"expression must end before {reading.next()!r}")
    if abs(value) >= 2**BITS:
        raise ValueError(f"the value must have {BITS} bits at most")
    if value.is_Integer:
        return str(value)
    return f"{float(value):.{DIGITS}g}"


class _Reading:
    """The tokens of an expression, and how far they are read."""

    def __init__(self, expression: str) -> None:
        text, self.tokens, self.at, self.depth = expression.strip(), [], 0, 0
        while text:
            if (found := TOKEN.match(text)) is None:
                raise ValueError(f"expression must be arithmetic, got {text[:20]!r}")
            self.tokens.append(found[1])
            text = text[found.end() :].lstrip()

    def next(self) -> str:
        """The next token; none at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token if it is wanted, which is then read; otherwise none."""
        token = self.next()
        if token not in wanted:
            return ""
        self.at += 1
        return token

    def sum(self) -> sympy.Expr:
        value = self.product()
        while sign := self.take("+", "-"):
            other = self.product()
            value = value + other if sign == "+" else value - other
        return value

    def product(self) -> sympy.Expr:
        value = self.sign()
        while sign := self.take("*", "/"):
            other = self.sign()
            if sign == "/" and other == 0:
                raise ValueError("nothing can be divided by 0")
            value = value * other if sign == "*" else value / other
        return value

    def sign(self) -> sympy.Expr:
        self.depth += 1
        if self.depth > DEPTH:
            raise ValueError(f"expression must be nested {DEPTH} deep at most")
        sign = self.take("+", "-")
        value = self.sign() if sign else self.power()
        self.depth -= 1
        return -value if sign == "-" else value

    def power(self) -> sympy.Expr:
        base = self.atom()
        if not self.take("^", "**"):
            return base
        exponent = self.sign()
        if base == 0 and exponent < 0:
            raise ValueError("nothing can be divided by 0")
        size = abs(sympy.log(abs(base), 2).evalf(5)) if base != 0 else 0
        if isinstance(base, sympy.Rational):  # a fraction is as long as the longer of its parts
            size = max(int(base.p).bit_length(), int(base.q).bit_length()) - 1
        if abs(exponent) * max(size, 1) > BITS:
            raise ValueError(f"a power must have {BITS} bits at most")
        exact = base.is_Rational and exponent.is_Integer
        return _real(base**exponent if exact else (base.evalf(30) ** exponent.evalf(30)))

    def atom(self) -> sympy.Expr:
        token = self.next()
        self.at += 1
        if token == "(":
            value = self.sum()
            if not self.take(")"):
                raise ValueError("a bracket must be closed")
            return value
        if token in CONSTANTS:
            return CONSTANTS[token]
        if token in FUNCTIONS:
            if self.next() != "(":
                raise ValueError(f"{token} must be followed by a bracket")
            value = self.atom()
            if abs(value) > LARGEST or (token == "log" and value <= 0):
                raise ValueError(f"{token} is not taken of {float(value):.6g}")
            exact = FUNCTIONS[token](value) if token in ("sqrt", "abs") else None
            return (
                exact
                if exact is not None and exact.is_Rational
                else _real(FUNCTIONS[token](value.evalf(30)))
            )
        if not token[:1].isdigit() and token[:1] != ".":
            raise ValueError(f"expression must go on with a number or a bracket, got {token!r}")
        return sympy.Rational(token)


def _real(value: sympy.Expr) -> sympy.Expr:
    if not value.is_real or not value.is_finite:
        raise ValueError(f"the value must be a real number, got {value}")
    return value
