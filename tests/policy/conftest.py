from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sources(root: Path) -> dict[str, str]:
    """Our code, tests left out: path from the root -> text."""
    files = [root / "train.py"]
    for folder in ("omni", "data", "eval"):
        files += sorted((root / folder).rglob("*.py"))
    found = {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in files}
    assert "omni/config.py" in found, "the policy tests must not pass on an empty checkout"
    return found
