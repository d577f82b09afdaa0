"""Two processes are one process, to the last digit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path

from eval import ranks
from eval.run import main
from omni import encoding

encoding.CHUNK = 8  # so that there are batches for both
encode, seen = encoding.Encoding._encode, []


def counted(self, sense, samples, frames):
    seen.append(len(samples))
    return encode(self, sense, samples, frames)


encoding.Encoding._encode = counted
main(sys.argv[2:])
Path(sys.argv[1], f"{ranks.RANK}-of-{ranks.COUNT}").write_text(str(sum(seen)))
"""
TOLD_APART = {"model", "command", "time", "seconds", "processes"}


def measured(run: Path, data: Path, root: Path, processes: int) -> tuple[dict, list[int]]:
    """The results.json of so many processes, and how many items each of them encoded."""
    folder = run.with_name(f"by-{processes}")
    shutil.copytree(run, folder)
    program = folder / "program.py"
    program.write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    tasks = ["retrieval", "caption", "--data", str(data)]
    done = subprocess.run(
        [sys.executable, *(launch * (processes > 1)), program, folder, folder, *tasks],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1  # one of them prints
    places = [folder / f"{rank}-of-{processes}" for rank in range(processes)]
    counts = [int(place.read_text()) for place in places]
    return json.loads((folder / "results.json").read_text()), counts


def test_two_processes_are_one_to_the_last_digit(tiny_run, small_data, tmp_path):
    run, root = tmp_path / "debug", Path(__file__).parents[2]
    shutil.copytree(tiny_run, run)
    (one, whole), (two, parts) = (measured(run, small_data, root, count) for count in (1, 2))
    assert one["results"] == two["results"] and len(one["results"]) > 100
    assert {*one["meta"]} == {*two["meta"]}
    assert {k for k in one["meta"] if one["meta"][k] != two["meta"][k]} <= TOLD_APART
    # Each has done a part, and none what another did.
    assert min(parts) > 0.2 * whole[0] and sum(parts) == whole[0]
