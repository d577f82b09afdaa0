"""Checkpoints: what was saved comes back, in any cut, and training waits for a copy only."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omni.training import store as store_module
from omni.training.manifest import DOCUMENTS, list_checkpoints, verify
from omni.training.pieces import Piece, Reader, write_pieces
from omni.training.store import KEEP, Lock, Store
from tests.training.store_child import documents, is_whole, save, save_rank, value

ROWS, COLUMNS = 7, 6
WHOLE = torch.randn((ROWS, COLUMNS), generator=torch.Generator().manual_seed(0))


def cut(offset: tuple[int, int], size: tuple[int, int]) -> Piece:
    rows, columns = (slice(o, o + n) for o, n in zip(offset, size, strict=True))
    return Piece(WHOLE[rows, columns], (ROWS, COLUMNS), offset)


def write(folder: Path, *pieces: Piece, name: str = "blocks.weight") -> Reader:
    for rank, piece in enumerate(pieces):
        write_pieces(folder / f"training-{rank:05d}.safetensors", {name: piece})
    return Reader(folder)


LAYOUTS = {
    "one": [((0, 0), (7, 6))],
    "four by rows": [((0, 0), (2, 6)), ((2, 0), (2, 6)), ((4, 0), (2, 6)), ((6, 0), (1, 6))],
    "two by two": [((0, 0), (4, 3)), ((0, 3), (4, 3)), ((4, 0), (3, 3)), ((4, 3), (3, 3))],
    "uneven, one empty": [((0, 0), (6, 6)), ((6, 0), (1, 6)), ((7, 0), (0, 6))],
    "replicated": [((0, 0), (7, 6)), ((0, 0), (7, 6))],
    "overlapping": [((0, 0), (5, 6)), ((3, 0), (4, 6))],
}


@pytest.mark.parametrize("to", LAYOUTS)
@pytest.mark.parametrize("source", LAYOUTS)
def test_any_cut_is_read_from_any_other(tmp_path: Path, source: str, to: str) -> None:
    reader = write(tmp_path, *(cut(*box) for box in LAYOUTS[source]))
    assert reader.shapes == {"blocks.weight": (ROWS, COLUMNS)}
    for offset, size in LAYOUTS[to]:
        found = reader.read("blocks.weight", offset, size)
        assert found.dtype == torch.float32
        assert torch.equal(found, cut(offset, size).data)


def test_every_kind_of_tensor_comes_back(tmp_path: Path) -> None:
    tensors = {
        "scalar": torch.tensor(3, dtype=torch.int64),
        "none": torch.zeros(0, 4),
        "half": torch.randn(3, 4, 5).bfloat16(),
        "mask": torch.tensor([True, False]),
        "turned": torch.randn(3, 4).t(),
    }
    pieces = {name: Piece.whole(tensor) for name, tensor in tensors.items()}
    write_pieces(tmp_path / "training-00000.safetensors", pieces)
    reader = Reader(tmp_path)
    for name, tensor in tensors.items():
        found = reader.read(name)
        assert found.dtype == tensor.dtype and torch.equal(found, tensor), name
    assert torch.equal(reader.read("half", (1, 0, 2), (2, 4, 1)), tensors["half"][1:, :, 2:3])


@pytest.mark.parametrize("missing", range(4))
def test_a_hole_is_an_error_that_names_the_tensor(tmp_path: Path, missing: int) -> None:
    boxes = LAYOUTS["two by two"]
    reader = write(tmp_path, *(cut(*box) for i, box in enumerate(boxes) if i != missing))
    with pytest.raises(ValueError, match=r"does not hold all of 'blocks\.weight'"):
        reader.read("blocks.weight")
    there = boxes[(missing + 1) % 4]
    assert torch.equal(reader.read("blocks.weight", *there), cut(*there).data)


def test_pieces_held_twice_do_not_hide_a_hole(tmp_path: Path) -> None:
    reader = write(tmp_path, cut((0, 0), (5, 6)), cut((0, 0), (5, 6)))
    with pytest.raises(ValueError, match="does not hold all"):
        reader.read("blocks.weight")


def test_slices_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'blocks\.weight' is \(7, 7\), elsewhere \(7, 6\)"):
        write(tmp_path, cut((0, 0), (3, 6)), Piece(WHOLE[3:], (7, 7), (3, 0)))
    with pytest.raises(ValueError, match="another type"):
        write(tmp_path, cut((0, 0), (3, 6)), Piece(WHOLE[3:].double(), (7, 6), (3, 0)))


def test_a_slice_outside_the_tensor_is_refused(tmp_path: Path) -> None:
    reader = write(tmp_path, cut((0, 0), (7, 6)))
    for offset, size in (((0, 0), (8, 6)), ((-1, 0), (1, 6)), ((0,), (7,)), ((7, 6), (1, 0))):
        with pytest.raises(ValueError, match="no slice"):
            reader.read("blocks.weight", offset, size)
    with pytest.raises(ValueError, match="no tensor 'other'"):
        reader.read("other")


def test_a_checkpoint_holds_what_was_saved(tmp_path: Path) -> None:
    store = save(tmp_path, 4, world=3)
    newest, reasons = store.newest() or pytest.fail("there is none")
    assert newest == tmp_path / "checkpoints/step-000004" and reasons == []
    assert is_whole(newest)
    assert torch.equal(load_file(newest / "model.safetensors")["average"], value(4))
    manifest = verify(newest)
    assert (manifest["step"], manifest["world"], manifest["facts"]) == (4, 3, {"threads": 1})
    assert manifest["libraries"]["torch"] == torch.__version__
    assert {f.name for f in newest.iterdir()} == {*manifest["files"], "manifest.json"}
    assert not is_whole(newest.rename(newest.with_name("step-000005")))  # the control


def test_training_may_change_what_is_being_saved(tmp_path: Path, monkeypatch) -> None:
    held, real = threading.Event(), store_module.write_pieces

    def waiting(path: Path, pieces: dict[str, Piece]) -> None:
        held.wait()
        real(path, pieces)

    monkeypatch.setattr(store_module, "write_pieces", waiting)
    store, weight = Store(tmp_path), value(1).requires_grad_()
    facts, texts = {"threads": [1]}, documents(1)
    store.save(1, {"weight": Piece.whole(weight)}, {"average": weight}, texts, facts)
    with torch.no_grad():
        weight.zero_()
    facts["threads"].append(2)
    texts.clear()
    held.set()
    store.wait()
    newest = tmp_path / "checkpoints/step-000001"
    assert is_whole(newest) and verify(newest)["facts"] == {"threads": [1]}


def test_one_save_is_in_flight_and_training_waits_for_no_disk(tmp_path: Path, monkeypatch) -> None:
    real, busy, most = os.fsync, threading.Semaphore(1), []

    def slow(descriptor: int) -> None:
        most.append(busy.acquire(blocking=False))
        time.sleep(0.01)
        real(descriptor)
        busy.release()

    monkeypatch.setattr(os, "fsync", slow)
    store = Store(tmp_path)
    save_rank(store, 1)
    assert list_checkpoints(tmp_path) == []  # save returned before anything was complete
    (thread,) = (t for t in threading.enumerate() if t.name == store_module.THREAD)
    assert thread.daemon  # an exit waits for no rank that is gone
    save_rank(store, 2)
    assert [f.name for f in list_checkpoints(tmp_path)] == ["step-000001"]
    store.wait()
    assert [f.name for f in list_checkpoints(tmp_path)] == ["step-000001", "step-000002"]
    assert all(most) and store.failures == []


def test_ranks_that_write_at_the_same_time_complete_one_checkpoint(tmp_path: Path) -> None:
    stores = [Store(tmp_path, rank, 4) for rank in range(4)]
    for step in range(1, 6):
        for store in stores:
            save_rank(store, step)
    for store in stores:
        store.wait()
        assert store.failures == []
    assert [f.name for f in list_checkpoints(tmp_path)] == ["step-000004", "step-000005"]
    assert all(is_whole(folder) for folder in list_checkpoints(tmp_path))


def test_a_rank_that_never_writes_is_named_in_time(tmp_path: Path) -> None:
    save(tmp_path, 1, world=2)
    store = Store(tmp_path, 0, 2, timeout=0.1)
    save_rank(store, 2)
    store.wait()
    expected = "step-000002: TimeoutError: rank 1 was not done within 0.1 s"
    assert store.failures == [expected]
    assert os.listdir(tmp_path / "checkpoints") == ["step-000001"]
    assert store.newest() == (tmp_path / "checkpoints/step-000001", [])


def test_a_late_rank_spoils_no_later_save(tmp_path: Path) -> None:
    """Rank 1 writes its part of step 2 when rank 0 has given it up, and both save step 2 again."""
    leader, other = Store(tmp_path, 0, 2, timeout=0.1), Store(tmp_path, 1, 2)
    save_rank(leader, 2)
    leader.wait()
    assert len(leader.failures) == 1
    save_rank(other, 2)
    other.wait()
    leader.timeout = 60
    save_rank(leader, 2)
    time.sleep(0.1)
    assert list_checkpoints(tmp_path) == []  # the late part is not taken for this one
    save_rank(other, 2)
    leader.wait()
    assert is_whole(tmp_path / "checkpoints/step-000002")
    assert os.listdir(tmp_path / "checkpoints") == ["step-000002"]


def test_a_rank_that_fails_ends_the_save_at_once(tmp_path: Path, monkeypatch) -> None:
    leader, other = Store(tmp_path, 0, 2), Store(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_pieces", lambda *_: (_ for _ in ()).throw(OSError(28)))
        save_rank(other, 1)
        other.wait()
    save_rank(leader, 1)
    leader.wait()  # much less than the time-out
    assert "rank 1 failed: step-000001: OSError: 28" in leader.failures[0]
    assert other.failures and os.listdir(tmp_path / "checkpoints") == []


def test_the_newest_are_kept_and_a_past_undone_goes(tmp_path: Path) -> None:
    save(tmp_path, *range(1, 6))
    assert [f.name for f in list_checkpoints(tmp_path)] == ["step-000004", "step-000005"]
    assert KEEP == 2
    save(tmp_path, 2)  # after a return to an earlier state
    assert [f.name for f in list_checkpoints(tmp_path)] == ["step-000002"]
    save(tmp_path, 999_999, 1_000_000)
    names = [f.name for f in list_checkpoints(tmp_path)]
    assert names == ["step-999999", "step-1000000"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-000001-best", "step-best", "notes"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert Store(tmp_path).newest() is None
    save(tmp_path, 1, 2, 3)
    assert len(os.listdir(tmp_path / "checkpoints")) == 3 + KEEP


def test_without_checkpoints_there_is_no_newest(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").newest() is None
    assert list_checkpoints(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_a_run_without_room_is_refused(tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    Store(tmp_path / "new/run").check_room(999)
    with pytest.raises(ValueError, match=r"two checkpoints of 1,000 bytes, but 1,999 are free"):
        Store(tmp_path / "new/run").check_room(1000)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """Another process that holds the lock, and a child of it, which inherits what is open."""
    ready, told = os.pipe()
    process = os.fork()
    if process == 0:
        lock = Lock(tmp_path / "run")
        worker = os.fork()
        if worker:
            os.write(told, f"{worker}\n".encode())
        signal.pause()
        lock.close()
    worker = int(os.read(ready, 100))
    yield process
    for process_id in (worker, process):
        os.kill(process_id, signal.SIGKILL)
    os.waitpid(process, 0)


def test_a_second_trainer_is_refused_until_the_first_is_gone(tmp_path: Path, holder: int) -> None:
    with pytest.raises(ValueError, match=f"run is being trained by process {holder} on "):
        Lock(tmp_path / "run")
    os.kill(holder, signal.SIGKILL)
    os.waitid(os.P_PID, holder, os.WEXITED | os.WNOWAIT)
    lock = Lock(tmp_path / "run")  # although a worker of the dead is alive
    with pytest.raises(ValueError, match=f"process {os.getpid()} on "):
        Lock(tmp_path / "run")
    lock.close()
    Lock(tmp_path / "run").close()


def test_the_documents_are_a_closed_set(tmp_path: Path) -> None:
    assert {"config.json", "tokenizer.json", "state.json"} == DOCUMENTS
    texts = documents(1) | {"other.json": ""}
    with pytest.raises(AssertionError):
        Store(tmp_path).save(1, {"weight": Piece.whole(value(1))}, {}, texts, {})
