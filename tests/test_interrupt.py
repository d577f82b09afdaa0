"""Ctrl-C at the command lines: one line, status 130, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import omni.command
from data.prepare import __main__ as prepare
from data.prepare import show
from eval import command, muge
from eval import run as evaluation
from omni.__main__ import main
from omni.interrupt import STATUS, advise, interruptible

ROOT = Path(__file__).parents[1]


def interrupt(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


@pytest.mark.parametrize("entry", ["omni", "data.prepare", "eval", "muge"])
def test_every_command_line_ends_with_one_line(entry, monkeypatch, capsys) -> None:
    monkeypatch.setattr(omni.command, "run", interrupt)
    monkeypatch.setattr(show, "run", interrupt)
    monkeypatch.setattr(command, "measure", interrupt)
    monkeypatch.setattr(muge, "submit", interrupt)
    run = {
        "omni": main,
        "data.prepare": lambda: prepare.main(["show", "nowhere"]),
        "eval": lambda: evaluation.main([]),
        "muge": lambda: muge.main(["caption", "run", "out", "--data", "nowhere"]),
    }[entry]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as end:
        run()
    said = capsys.readouterr().err
    assert end.value.code == STATUS == 130
    assert said.startswith(f"{entry}: interrupted") and said.count("\n") == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_the_line_says_what_has_become_of_the_work(capsys) -> None:
    with pytest.raises(SystemExit), interruptible("pack"), advise("run it again"):
        interrupt()
    assert capsys.readouterr().err == "pack: interrupted: run it again\n"


def test_the_second_ends_at_once() -> None:
    code = (
        "import os, signal, time\n"
        "from omni.interrupt import interruptible\n"
        "with interruptible('x'):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "    finally: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert ended.returncode == -signal.SIGINT and ended.stderr == b""


@pytest.mark.parametrize("words", [["omni", "embed", "-"], ["data.prepare", "pack", "a", "b"],
                                   ["eval.run"]])  # fmt: skip
def test_even_while_modules_are_imported(words: list[str]) -> None:
    """A package that never loads stands for torch, which takes seconds."""
    code = (
        "import os, runpy, signal, sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch':\n"
        "            os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "sys.meta_path.insert(0, Slow())\n"
        f"sys.argv = {words}\n"
        f"runpy.run_module({words[0]!r}, run_name='__main__', alter_sys=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, input=""
    )
    assert ended.returncode == STATUS, ended.stderr
    assert ended.stderr.count("\n") == 1 and "interrupted" in ended.stderr


def test_nobody_reads_the_output_any_more() -> None:
    code = (
        "from omni.interrupt import interruptible\n"
        "with interruptible('x'):\n"
        "    for _ in range(99999): print('a line')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE
