"""Which split a folder or a file says that it is, by its name."""

import re
from pathlib import Path

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= {"val": "val", "valid": "val", "validation": "val", "dev": "val"}
NUMBER = re.compile(r"([-_. ]?(of)?[-_. ]?\d+)+$")
"""what stands behind the name of a split, as of train2017 or test-00000-of-00004"""


def split_name(name: str) -> str | None:
    """The split that a name means; None where it means none."""
    return SPLITS.get(NUMBER.sub("", name).lower())


def split_of(folder: Path) -> str | None:
    """The split that a relative path of folders says: the first of them that means one."""
    return next((split for part in folder.parts if (split := split_name(part))), None)
