"""Checkpoints when things go wrong: killed, starved, damaged, forged."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omni.training import manifest, store
from omni.training.manifest import list_checkpoints, verify
from omni.training.store import Store
from tests.training.hostile_files import hostile_files
from tests.training.store_child import is_whole, save, save_rank

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of everything that a child process was put through."""
    command = [sys.executable, "-m", "tests.training.store_child", tmp_path_factory.mktemp("child")]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=one_thread)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("action", "least", "steps"),
    [
        ("first", 60, {None, 3}),  # nothing was there before
        ("next", 60, {2, 3}),
        ("again", 60, {2}),
        ("start", 20, {2}),
    ],
)
def test_a_kill_at_any_call_loses_no_checkpoint(outcomes, action, least, steps) -> None:
    attempts = outcomes["kills"][action]
    assert len(attempts) > least
    assert [a["killed"] for a in attempts] == [True] * (len(attempts) - 1) + [False]
    assert {a["step"] for a in attempts} == steps
    for attempt in attempts:
        assert attempt["whole"] or attempt["step"] is None, attempt
        assert attempt["left"] == [], attempt
        # The next save goes through, and all that is there afterwards is complete.
        kept = [step for step in (attempt["step"], 9) if step is not None]
        assert attempt["after"] == kept, attempt
        assert attempt["names"] == [manifest.folder_name(step) for step in kept], attempt


def test_a_store_that_prunes_first_is_found_out(outcomes) -> None:
    assert [a for a in outcomes["kills"]["reckless"] if a["killed"] and a["step"] is None]


def test_a_full_disk_costs_one_save(outcomes) -> None:
    found = outcomes["full_disk"]
    (failure,) = found["failures"]
    assert failure.startswith("step-000002: ") and "File too large" in failure
    assert found["names"] == ["step-000001"]
    assert found["whole"]
    assert found["after"] == ["step-000001", "step-000003"]


@pytest.mark.parametrize("times", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "rename", "replace", "rmdir"])
def test_a_call_that_fails_costs_one_save(tmp_path: Path, monkeypatch, call, times) -> None:
    """The disk fails at the call after so many, and from there on: read-only, or broken."""
    before = save(tmp_path, 1, 2, world=1)
    real, calls = getattr(os, call), []

    def failing(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) > times:
            raise OSError(5, "Input/output error")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        save_rank(before, 3)
        before.wait()
    if len(calls) <= times:
        assert before.failures == []
    else:
        (failure,) = before.failures
        assert failure.startswith("step-000003: OSError: ") and "Input/output error" in failure
    newest, _ = before.newest() or pytest.fail("all are lost")
    assert is_whole(newest)
    assert all(is_whole(folder) for folder in list_checkpoints(tmp_path)[-2:])
    save_rank(before, 4)
    before.wait()
    assert before.failures == before.failures[:1]
    assert before.newest() == (tmp_path / "checkpoints/step-000004", [])
    assert len(list_checkpoints(tmp_path)) == 2
    assert is_whole(tmp_path / "checkpoints/step-000004")


def test_a_complete_checkpoint_gets_its_name_later(tmp_path: Path, monkeypatch) -> None:
    """The only one is written again, has made room for itself, and then cannot be renamed."""
    found, real, calls = save(tmp_path, 1, world=1), os.rename, []

    def second_fails(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", second_fails)
        save_rank(found, 1)
        found.wait()
    assert len(found.failures) == 1 and list_checkpoints(tmp_path) == []
    assert Store(tmp_path).newest() == (tmp_path / "checkpoints/step-000001", [])
    assert is_whole(tmp_path / "checkpoints/step-000001")


def test_a_folder_that_cannot_be_made_costs_one_save(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.write_text("a file in the place of the run")
    found = Store(run)
    save_rank(found, 1)
    found.wait()
    assert "NotADirectoryError" in found.failures[0]
    run.unlink()
    save_rank(found, 2)
    found.wait()
    assert len(found.failures) == 1
    assert is_whole(run / "checkpoints/step-000002")


def test_a_folder_that_vanishes_costs_one_save(tmp_path: Path, monkeypatch) -> None:
    """All of the run is removed while a save is under way: that one is lost, the next is not."""
    run = tmp_path / "run"
    found, real = save(run, 1, world=1), store.write_pieces

    def vanishing(path: Path, pieces: Any) -> None:
        real(path, pieces)
        shutil.rmtree(run)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_pieces", vanishing)
        save_rank(found, 2)
        found.wait()
    assert "FileNotFoundError" in found.failures[0]
    assert found.newest() is None
    save_rank(found, 3)
    found.wait()
    assert is_whole(run / "checkpoints/step-000003") and len(found.failures) == 1


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(tmp_path, 1, 2)
    return tmp_path


def refused(run: Path) -> str:
    """Why the newer of two checkpoints is passed over for the older one."""
    found = Store(run).newest()
    assert found is not None
    folder, reasons = found
    assert folder.name == "step-000001" and len(reasons) == 1, (folder, reasons)
    assert reasons[0].startswith("step-000002: ")
    return reasons[0].removeprefix("step-000002: ")


def test_every_flipped_bit_is_found(run: Path) -> None:
    files = sorted((run / "checkpoints/step-000002").iterdir())
    assert len(files) == 7
    draw = random.Random(0)
    for number in range(210):
        path = files[number % len(files)]
        good = path.read_bytes()
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        path.write_bytes(bad)
        assert refused(run).startswith(path.name), path
        path.write_bytes(good)
    assert Store(run).newest() == (run / "checkpoints/step-000002", [])


FILES = (*manifest.DOCUMENTS, manifest.WEIGHTS, manifest.shard_name(1), manifest.MANIFEST)
DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "of the other step": lambda path: shutil.copy(other_step(path), path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def other_step(path: Path) -> Path:
    return path.parents[1] / "step-000001" / path.name


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(run: Path, name: str, damage: str) -> None:
    DAMAGE[damage](run / "checkpoints/step-000002" / name)
    assert refused(run).startswith(name)


def test_files_in_the_place_of_others_are_named(run: Path) -> None:
    folder = run / "checkpoints/step-000002"
    first, second = (folder / manifest.shard_name(rank) for rank in (0, 1))
    first.rename(folder / "kept")
    second.rename(first)
    (folder / "kept").rename(second)
    assert refused(run).startswith(first.name)


def test_a_renamed_and_an_additional_file_are_named(run: Path) -> None:
    folder = run / "checkpoints/step-000002"
    (folder / "more.bin").write_bytes(b"")
    assert refused(run) == "more.bin is not in the manifest"
    (folder / "more.bin").unlink()
    (folder / "state.json").rename(folder / "status.json")
    assert refused(run) == "state.json is missing"


def test_a_renamed_checkpoint_is_refused(run: Path) -> None:
    (run / "checkpoints/step-000002").rename(run / "checkpoints/step-000003")
    _, reasons = Store(run).newest() or pytest.fail("there is one")
    assert reasons == ["step-000003: manifest.json says step 2, not 3"]


def test_a_disk_that_cannot_be_read_is_a_reason(run: Path, monkeypatch) -> None:
    real = manifest.seal

    def seal(path: Path) -> dict[str, Any]:
        if path.parent.name == "step-000002":
            raise OSError(5, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(manifest, "seal", seal)
    assert "Input/output error" in refused(run)


def test_no_run_starts_afresh_because_all_is_damaged(run: Path) -> None:
    for folder in list_checkpoints(run):
        (folder / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no valid checkpoint: step-000002: state\.json .*000001"):
        Store(run).newest()
    for folder in list_checkpoints(run):
        (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"step-000002: manifest\.json is missing"):
        Store(run).newest()


def test_a_forged_manifest_is_refused(run: Path) -> None:
    folder = run / "checkpoints/step-000002"
    said = verify(folder)
    files, some = said["files"], {"size": 2, "sha256": ""}

    def forged(**changes: Any) -> str:
        """The reason against one whose own digest agrees with what was changed in it."""
        (folder / "manifest.json").write_bytes(manifest._signed(said | changes))
        return refused(run)

    assert "says version 2" in forged(version=2)
    assert "says step [2]" in forged(step=[2])
    for world in (1 << 60, -1, 0, "2", None):
        assert "file of each rank" in forged(world=world)
    assert "file of each rank" in forged(files=[*files])
    assert "other files" in forged(world=1)
    for name in ("../step-000001/state.json", "/etc/passwd", "more.bin", "training-2.safetensors"):
        assert "other files" in forged(files=files | {name: some})
    reason = forged(files=files | {"state.json": ["?" * 9999]})
    assert reason.startswith("state.json is {") and len(reason) < 400
    (folder / "manifest.json").write_bytes(manifest._signed(said))
    assert Store(run).newest() == (folder, [])  # the control: signed like this, it is valid


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff\xfe", b"[]", b"null", b" " * (17 << 20)])
def test_a_manifest_of_anything_else_is_refused(run: Path, text: bytes) -> None:
    (run / "checkpoints/step-000002/manifest.json").write_bytes(text)
    assert refused(run).startswith("manifest.json ")


def test_a_hostile_checkpoint_runs_nothing(outcomes, tmp_path: Path) -> None:
    found = outcomes["hostile"]
    assert found["results"].keys() == {*hostile_files(tmp_path), ".metadata"}
    assert "read" not in found["results"].values()
    # Their digests agree: it is the reader that refuses them, by name.
    named = [text for name, text in found["results"].items() if name != ".metadata"]
    assert all(text.startswith("step-000002: ") and "step-000002" in text for text in named)
    assert found["results"][".metadata"].startswith("step-000001: ")
    assert (found["events"], found["canary"]) == ([], False)
    assert found["kilobytes"] < 50_000
    assert found["control"] == [True, ["pickle.find_class", "os.system"]]
