"""Packing is the same to the byte, whatever interrupts it and whoever does it."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.prepare import engine
from data.prepare.shard import pack_shard
from tests.data.corpora import SAMPLES, contents, pack, picture, write_folder

ROOT = Path(__file__).parents[2]
OPTIONS = ("--shard-samples", "2")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve samples, one of them damaged."""
    root = write_folder(tmp_path_factory.mktemp("source") / "folder")
    (root / "S02.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return root


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run leaves."""
    out = tmp_path_factory.mktemp("whole")
    assert pack(source, out, *OPTIONS) == 0
    found = contents(out)
    assert len([name for name in found if name.endswith(".tar")]) == 6
    assert len(found["rejected.jsonl"].splitlines()) == 1
    return found


STALLED = """
import sys, time
from data.prepare import shard
from data.prepare.__main__ import main

def stall(key, *rest):
    if key == "s07":
        time.sleep(600)
    return convert(key, *rest)

convert, shard.convert = shard.convert, stall
main(sys.argv[1:])
"""


def test_a_run_that_is_killed_within_a_shard_goes_on_and_leaves_the_same(source, whole, tmp_path):
    arguments = ["pack", source, tmp_path, *OPTIONS, "--processes", 1]
    run = subprocess.Popen([sys.executable, "-c", STALLED, *map(str, arguments)], cwd=ROOT)
    while not list(tmp_path.glob(".pack/run-*/train-000003.tar.partial")):
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    names = [f"train-00000{i}.tar" for i in range(3)]
    assert [tar.name for tar in sorted(tmp_path.glob("*.tar"))] == names
    times = [(tmp_path / name).stat().st_mtime_ns for name in names]
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert contents(tmp_path) == whole
    assert [(tmp_path / name).stat().st_mtime_ns for name in names] == times


@pytest.mark.parametrize("step", range(6))
def test_a_run_that_failed_at_any_shard_goes_on(step, source, whole, tmp_path, monkeypatch):
    written = []

    def fail(job):
        if len(written) == step:
            raise OSError("no space left on device")
        written.append(job.name)
        return pack_shard(job)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "pack_shard", fail)
        assert pack(source, tmp_path, *OPTIONS) == 2
    assert len(list(tmp_path.glob("*.tar"))) == step
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    "name", ["train-000002.tar", "train-000002.idx", ".pack/train-000002.tar.json"]
)
def test_a_shard_of_which_a_part_is_missing_or_cut_is_written_again(name, source, whole, tmp_path):
    assert pack(source, tmp_path, *OPTIONS) == 0
    (tmp_path / name).write_bytes(whole[name][:-200])
    if name.endswith(".json"):  # then nobody knows whose the tar is
        (tmp_path / "train-000002.tar").unlink()
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("left", range(9))  # the settings, and then three files a shard
def test_a_kill_between_the_files_of_a_shard_is_seen(left, source, whole, tmp_path, monkeypatch):
    rename = Path.replace

    def stop(path: Path, target: Path) -> Path:
        nonlocal left
        if target.parent in (tmp_path, tmp_path / ".pack"):
            left -= 1
            if left < 0:
                raise OSError("killed")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        assert pack(source, tmp_path, *OPTIONS) == 2
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert contents(tmp_path) == whole


def test_two_processes_write_what_one_writes(source, whole, tmp_path):
    assert pack(source, tmp_path, *OPTIONS, "--processes", 2) == 0
    assert contents(tmp_path) == whole


@pytest.mark.slow
def test_ray_writes_what_one_process_writes(source, whole, tmp_path):
    pytest.importorskip("ray.data")
    command = [sys.executable, "-m", "data.prepare", "pack"]
    done = subprocess.run(
        [*command, str(source), str(tmp_path), *OPTIONS, "--processes", "2", "--engine", "ray"],
        cwd=ROOT,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == whole


def test_a_missing_ray_is_told_with_its_remedy(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert pack(source, tmp_path, "--engine", "ray") == 2
    assert "pip install 'ray[data]'" in capsys.readouterr().err


def test_a_worker_that_is_killed_is_told_of(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine, "pack_shard", _kill_worker)
    assert pack(source, tmp_path, *OPTIONS, "--processes", 2) == 2
    assert "want of memory" in capsys.readouterr().err


def _kill_worker(job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", 128), "--size 256, now it is 128"),
        (("--audio", "wav"), "--audio flac, now it is wav"),
        (("--shard-samples", 3), "--shard-samples 2, now it is 3"),
        (("--keep-originals",), "--keep-originals False, now it is True"),
    ],
)
def test_another_option_is_refused_by_its_name(options, message, source, whole, tmp_path, capsys):
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert pack(source, tmp_path, *OPTIONS, *options) == 2
    assert message in capsys.readouterr().err
    assert contents(tmp_path) == whole


def test_another_source_is_refused(source, tmp_path, capsys):
    assert pack(source, tmp_path, *OPTIONS) == 0
    assert pack(source.parent, tmp_path, *OPTIONS) == 2
    assert f"source {source}, now it is {source.parent}" in capsys.readouterr().err


def test_a_changed_source_gives_what_a_fresh_run_gives(tmp_path):
    source, out = write_folder(tmp_path / "source"), tmp_path / "out"
    assert pack(source, out, *OPTIONS) == 0
    untouched = (out / "train-000001.tar").stat().st_mtime_ns
    (source / "S00.png").write_bytes(picture(90, 60))
    for key in list(SAMPLES)[8:]:
        for file in source.glob(f"{key}.*"):
            file.unlink()
    assert pack(source, out, *OPTIONS) == 0
    assert (out / "train-000001.tar").stat().st_mtime_ns == untouched
    changed = contents(out)
    shutil.rmtree(out)
    assert pack(source, out, *OPTIONS) == 0
    assert contents(out) == changed
    assert len(list(out.glob("*.tar"))) == 4


def test_two_runs_cannot_write_into_one_folder(source, tmp_path, capsys):
    (tmp_path / ".pack").mkdir()
    with (tmp_path / ".pack/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert pack(source, tmp_path) == 2
    assert "another run" in capsys.readouterr().err
    assert pack(source, tmp_path) == 0


def test_shards_of_another_origin_are_not_written_over(source, tmp_path, capsys):
    (tmp_path / "train-000000.tar").write_bytes(b"precious")
    assert pack(source, tmp_path) == 2
    assert "not written by pack" in capsys.readouterr().err
    assert (tmp_path / "train-000000.tar").read_bytes() == b"precious"
