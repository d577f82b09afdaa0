r"""Names of files as text: a byte that is no UTF-8 is written \udcXX, and found again.

Python holds such a byte as half of a surrogate pair, which no text file, terminal, database or
JSON reader takes.
"""

import os
import re

ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def to_text(name: object) -> str:
    r"""Return a name that can be printed and stored anywhere: `caf\udce9.png` for Latin-1's é."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def to_file_name(text: str) -> str:
    """Return the name of the file that `to_text` has written, if there is no file of that name."""
    if os.path.exists(text):
        return text
    return ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    return to_text(text) == text
