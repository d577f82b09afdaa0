"""Fixtures of the preparation of data."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes that are built in a test are kept with it."""
    monkeypatch.setenv("OMNI_CACHE", str(tmp_path / "cache"))
