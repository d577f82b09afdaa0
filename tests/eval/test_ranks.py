"""Two processes are one process, to the last digit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval import ranks
from eval.run import main
from omni import encoding
from omni.batch import Tokens

CHUNK = 8  # items at once, so that there are batches for both
PROGRAM = f"""
import sys
from pathlib import Path

from eval import ranks
from eval.run import main
from omni import encoding

encoding.CHUNK = {CHUNK}
encode, seen = encoding.Encoding._encode, []


def counted(self, sense, samples, frames):
    seen.append(len(samples))
    return encode(self, sense, samples, frames)


encoding.Encoding._encode = counted
main(sys.argv[2:])
Path(sys.argv[1], str(ranks.RANK)).write_text(str(sum(seen)))
"""
TOLD_APART = {"model", "command", "time", "seconds", "processes"}


def test_two_processes_are_one_to_the_last_digit(
    tiny_run, small_data, tmp_path, monkeypatch, capsys
):
    tasks = ["retrieval", "caption", "--data", str(small_data)]
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder in (alone, both):
        shutil.copytree(tiny_run, folder)
    monkeypatch.setattr(encoding, "CHUNK", CHUNK)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the results tell how many
    main([str(alone), *tasks])
    assert capsys.readouterr().out.count("report: ") == 1

    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, program, tmp_path, both, *tasks],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1  # the first prints, and it alone
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (alone, both))
    assert one["results"] == two["results"] and len(one["results"]) > 100
    assert {*one["meta"]} == {*two["meta"]} and two["meta"]["processes"] == 2
    assert {k for k in one["meta"] if one["meta"][k] != two["meta"][k]} <= TOLD_APART
    first, second = (int((tmp_path / rank).read_text()) for rank in ("0", "1"))
    assert 0.5 < first / second < 2  # each has done its part


def test_batches_are_dealt_out_and_gathered_in_their_order(monkeypatch):
    """Three processes, one after another: what each sends is what the last one gathers."""
    sent: list[list] = []

    def gather(gathered: list, own: list) -> None:
        sent.append(own)
        gathered[: len(sent)] = sent

    monkeypatch.setattr(ranks.dist, "all_gather_object", gather)
    monkeypatch.setattr(ranks, "COUNT", 3)
    batches, told = [torch.arange(n + 1) for n in range(7)], []
    for rank in (0, 1):
        monkeypatch.setattr(ranks, "RANK", rank)
        with pytest.raises(TypeError, match="NoneType"):  # not all are there
            ranks.spread(torch.square, batches, lambda *done: told.append(done))
    monkeypatch.setattr(ranks, "RANK", 2)
    found = ranks.spread(torch.square, batches)
    assert all(torch.equal(a, b**2) for a, b in zip(found, batches, strict=True))
    assert told == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]


def test_a_row_is_sent_without_its_batch():
    batch = torch.zeros(64, 8)
    tokens = Tokens(torch.zeros(64, 5, 8)[:1], torch.ones(64, 5, dtype=torch.bool)[:1])
    row, text, kept = ranks.alone([batch[3], "a", tokens])
    assert row.untyped_storage().nbytes() == 8 * 4 and text == "a"
    assert kept.x.untyped_storage().nbytes() == 5 * 8 * 4
    assert torch.equal(row, batch[3]) and torch.equal(kept.mask, tokens.mask)
