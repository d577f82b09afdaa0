"""Names of files that are no UTF-8."""

import json
import os

from omni.names import is_text, to_file_name, to_text


def test_a_name_that_is_no_utf8_is_text_and_finds_its_file_again(tmp_path) -> None:
    for name in (b"caf\xe9.png", b"\xff\xfe", "café.png".encode(), b"plain.png"):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        with open(path, "w") as file:
            file.write("content")
        text = to_text(path)
        assert text.encode("utf-8") and json.loads(json.dumps(text, ensure_ascii=False)) == text
        assert to_file_name(text) == path and is_text(path) == (text == path)


def test_a_name_that_looks_escaped_is_its_own_file(tmp_path) -> None:
    path = tmp_path / r"caf\udce9.png"
    path.touch()
    assert to_text(path) == str(path) == to_file_name(str(path))
