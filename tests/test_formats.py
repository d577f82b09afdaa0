"""The page of formats says what the table does."""

import re
from pathlib import Path

import pytest

from omni.pipeline.formats import EXTENSIONS, FORMATS, UNREADABLE, endings

PAGE = (Path(__file__).parents[1] / "docs/formats.md").read_text("utf-8")


@pytest.mark.parametrize("modality", ["image", "audio", "video", "text"])
def test_the_page_lists_the_endings_of_each_door(modality: str) -> None:
    row = re.search(rf"^\| {modality} \|(.*)\|(.*)\|$", PAGE, re.MULTILINE)
    assert row is not None
    in_shards = [e for e in endings(modality) if FORMATS[e].in_shards]
    others = [e for e in endings(modality) if not FORMATS[e].in_shards]
    assert row[1].split() == in_shards
    assert row[2].split() == others


def test_the_page_lists_what_is_known_and_not_read() -> None:
    listed = re.search(r"known and not read: ([^.]*)\.", PAGE)
    assert listed is not None and listed[1].split() == [*UNREADABLE]
    assert not {*UNREADABLE} & FORMATS.keys()


def test_a_shard_holds_what_the_table_says() -> None:
    assert {e for e in FORMATS if FORMATS[e].in_shards} == {*EXTENSIONS} - {"json"}
