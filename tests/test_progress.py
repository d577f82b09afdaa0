"""Progress without a terminal: plain lines, which go on while nothing is done."""

import io
import re
import sys
import time

import pytest

from omni import progress
from omni.progress import Progress, track


def test_plain_lines_go_on_while_one_step_takes_long(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    for _ in track(range(2), "captions"):
        time.sleep(0.1)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and len(lines) > 4
    assert all(re.fullmatch(r"captions: [0-2] of 2, 0:00:0\d", line) for line in lines)
    assert lines[0].startswith("captions: 0 of 2") and lines[-1].startswith("captions: 2 of 2")


def test_what_is_done_soon_says_nothing(capsys) -> None:
    assert list(track(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_nothing_is_said_where_it_is_unwanted(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.01)
    with Progress("work", 3, quiet=True) as shown:
        shown.update(1, "more work", 4)
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_there_is_a_bar_on_standard_error(monkeypatch, capsys) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert list(track([1, 2], "letters")) == [1, 2]
    assert "letters" in screen.getvalue() and "2 of 2" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_an_error_ends_the_lines(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.01)
    with pytest.raises(KeyError), Progress("work"):
        raise KeyError
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""
