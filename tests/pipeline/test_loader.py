"""Batches of real shards: bit-exact in any topology, whole in spite of damage, accounted for."""

import io
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import webdataset

import train
from omni.batch import Batch
from omni.modality.text import Tokenizer
from omni.pipeline.assemble import Assembler
from omni.pipeline.dataset import open_index
from omni.pipeline.formats import BITS
from omni.pipeline.loader import Loader
from omni.pipeline.plan import WINDOW
from omni.pipeline.quarantine import Fault, Quarantine
from omni.pipeline.reader import Reader
from omni.pipeline.sample import read_samples
from omni.presets import debug
from tests.pipeline.shards import MODEL, make_members, settings, write_data

STEPS = 3 * 47 // 8 + 1
"""of batches of eight: three epochs"""


def copied(batch: Batch) -> dict[str, torch.Tensor]:
    """All tensors of a batch by name, out of the loader's memory."""
    tensors = {"group": batch.group.clone()}
    for sense, part in batch.parts.items():
        tensors |= {f"{sense}/{n}": getattr(part, n).clone() for n in ("data", "rows", "lengths")}
    return tensors


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run(loader: Loader, start: int, stop: int, tokenizer: Tokenizer) -> list[dict]:
    return [copied(batch) for batch in loader.batches(start, stop, tokenizer, MODEL)]


def planned(loader: Loader, step: int) -> dict[str, list[int]]:
    """The rows of a batch that have each sense, from the index alone."""
    numbers = np.array([pick.number for pick in loader.plan.batch(step)])
    masks = loader.datasets[0].column("senses", numbers)
    return {sense: np.flatnonzero(masks & bit).tolist() for sense, bit in BITS.items()}


@pytest.fixture
def whole(data: Path, tokenizer: Tokenizer) -> list[dict]:
    """The batches of three epochs, made in one go."""
    return run(Loader(settings(data), seed=3), 0, STEPS, tokenizer)


def test_every_resume_is_bit_exact_for_any_ranks_and_workers(data, tokenizer, whole):
    """Every step to save at; ranks 1 ... 8 and workers 0 ... 3, each an assembler of its own."""
    config = settings(data)
    made: dict[tuple[int, int], list[dict]] = {}
    for world in (1, 2, 4, 8):
        loaders = [Loader(config, 3, rank=rank, world=world) for rank in range(world)]
        for loader in loaders:
            maker = Assembler(**loader._rules(tokenizer, MODEL))
            for step in range(STEPS):
                made.setdefault((world, step), []).append(copied(maker.make(step).batch))
    # A worker makes every n-th step from where it starts: alone, a step must be what it is among
    # all. So a fresh assembler for each (save, worker) must give the same bits.
    for saved in range(0, STEPS + 1):
        state = json.loads(json.dumps(Loader(config, 3).state(saved)))
        for workers in (0, 1, 2, 3):
            loader = Loader(config, 3)
            start = loader.restore(state)
            makers = [Assembler(**loader._rules(tokenizer, MODEL)) for _ in range(workers or 1)]
            for step in range(start, min(start + 4, STEPS)):
                maker = makers[(step - start) % len(makers)]
                assert same(copied(maker.make(step).batch), whole[step])
    for (world, step), parts in made.items():
        pixels = torch.cat([part["image/data"] for part in parts if "image/data" in part])
        texts = [part["text/data"] for part in parts if "text/data" in part]
        if world == 1:
            assert same(parts[0], whole[step])
        # All ranks together have all pictures, in order. Texts alone come after each rank's own.
        assert torch.equal(pixels, whole[step]["image/data"])
        assert sum(map(len, texts)) == len(whole[step]["text/data"])


@pytest.mark.parametrize("workers", [0, 2])
def test_micro_batches_are_those_of_as_many_ranks(data, tokenizer, workers):
    """One process that takes four, or two that take two each, have what four ranks have."""
    ranks = [run(Loader(settings(data), 3, rank=r, world=4), 2, 5, tokenizer) for r in range(4)]
    for world in (1, 2):
        parts = 4 // world
        for rank in range(world):
            loader = Loader(settings(data, workers=workers), 3, rank=rank, world=world, parts=parts)
            made = run(loader, 2, 5, tokenizer)
            assert len(made) == 3 * parts
            for turn, batch in enumerate(made):
                step, part = divmod(turn, parts)
                assert same(batch, ranks[rank * parts + part][step])


def test_the_books_close_with_micro_batches(data, tokenizer):
    loader = Loader(settings(data), seed=3, parts=4)
    assert len([*loader.batches(0, STEPS, tokenizer, MODEL)]) == 4 * STEPS


def test_samples_are_named_by_their_keys(data, tokenizer):
    loader = Loader(settings(data), seed=3)
    batch = loader.batch(5, tokenizer, MODEL)
    assert batch.key is not None
    named = [*loader.names(5, batch.key[:3].tolist())]
    picks = loader.plan.batch(5)[:3]
    reader = Reader(loader.datasets[0])
    expected = [
        f"{loader.datasets[0].locate(p.number)[0].name}/{reader.key(p.number)}" for p in picks
    ]
    assert named == expected and len({*named}) == 3


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_make_the_same_batches_and_resume_anywhere(data, tokenizer, whole, workers):
    with_workers = Loader(settings(data, workers=workers), seed=3)
    first = run(with_workers, 0, 5, tokenizer)
    state = json.loads(json.dumps(with_workers.state(5)))
    # Saved with so many workers, resumed with none, and the other way round.
    alone = Loader(settings(data), seed=3)
    rest = run(alone, alone.restore(state), 9, tokenizer)
    again = Loader(settings(data, workers=workers), seed=3)
    last = run(again, again.restore(alone.state(9)), STEPS, tokenizer)
    made = first + rest + last
    assert len(made) == STEPS
    assert all(same(a, b) for a, b in zip(made, whole, strict=True))
    # Control: another seed gives other batches.
    other = run(Loader(settings(data), seed=4), 0, 1, tokenizer)
    assert not same(other[0], whole[0])


def test_a_missing_sense_is_absent_and_never_zeros(data, tokenizer):
    loader = Loader(settings(data, batch_size=24), seed=3)
    batch = loader.batch(0, tokenizer, MODEL)
    for sense, present in planned(loader, 0).items():
        assert 0 < len(present) < 24
        assert [row for row in batch.parts[sense].rows.tolist() if row < 24] == present
    # The rows after the samples are texts alone, drawn anew in every step.
    extra = {s: [r for r in p.rows.tolist() if r >= 24] for s, p in batch.parts.items()}
    assert not extra["image"] and not extra["audio"]
    assert batch.size == 24 + len(extra["text"]) > 24
    assert not torch.equal(batch.group[24:], loader.batch(1, tokenizer, MODEL).group[24:])


def test_pixels_sounds_and_words_are_those_of_the_shard(data, tokenizer):
    samples = {s.meta["number"]: s for s in read_samples(str(data), "train")}
    loader = Loader(settings(data), seed=3)
    batch, picks = loader.batch(0, tokenizer, MODEL), loader.plan.batch(0)
    numbers = [pick.number for pick in picks]  # the shards hold the samples in order
    for part, sense in ((batch.parts["image"], "image"), (batch.parts["audio"], "audio")):
        for item, row, length in zip(part.data, part.rows, part.lengths, strict=True):
            own = getattr(samples[numbers[row]], sense)
            found = item if sense == "image" else item[:length]
            assert torch.equal(found, own)
            assert sense == "image" or not item[length:].any()
    for ids, row in zip(batch.parts["text"].data, batch.parts["text"].rows, strict=True):
        if row < len(numbers):
            assert tokenizer.decode(ids.tolist()) == samples[numbers[row]].text


def test_broken_pairs_are_broken(data, tokenizer):
    """Of no sense an item is lost or another's caption read, and rows are in order as ever."""
    whole, broken = (
        Loader(settings(data, batch_size=40, shuffled=shuffled), seed=3).batch(0, tokenizer, MODEL)
        for shuffled in (False, True)
    )
    items = [
        {
            s: dict(zip(p.rows.tolist(), map(digest, p.data), strict=True))
            for s, p in b.parts.items()
        }
        for b in (whole, broken)
    ]
    for name, part in broken.parts.items():
        assert part.rows.tolist() == sorted({*part.rows.tolist()})
        assert sorted(items[0][name].values()) == sorted(items[1][name].values())
    pairs, mixed = (
        [(of["text"][row], of["audio"][row]) for row in of["audio"].keys() & of["text"].keys()]
        for of in items
    )
    assert sum(pair in {*pairs} for pair in mixed) < len(mixed) / 2 > 5
    texts = ({(of["text"][row], of["caption"][row]) for row in of["text"]} for of in items)
    assert next(texts) == next(texts)


def digest(item):
    return zlib.crc32(item.contiguous().numpy().tobytes())


def test_what_is_damaged_is_named_and_dropped_if_wanted(data, tokenizer, damage, tmp_path):
    """Members in all shards; the list is exact, batches stay full, the books are right."""
    tars = sorted(data.glob("*.tar"))
    damage_some(tars, damage)
    loader = Loader(settings(data, max_bad=0.5, damaged="drop"), seed=3, folder=tmp_path)
    steps = WINDOW * 8
    batches = run(loader, 0, steps, tokenizer)
    lines = [json.loads(x) for x in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert len(lines) == 9
    assert {(x["shard"], x["member"]) for x in lines} == {
        (tar.name, extension) for tar in tars for extension in ("jpg", "wav", "txt")
    }
    assert all("crc32" in line["reason"] for line in lines)
    for step, batch in enumerate(batches):
        assert {sense: batch[f"{sense}/rows"].tolist() for sense in ("image", "audio")} == {
            sense: rows for sense, rows in planned(loader, step).items() if sense != "text"
        }
    # A run that goes on knows what is damaged, and makes the same batches.
    again = Loader(settings(data, max_bad=0.5, damaged="drop"), seed=3, folder=tmp_path)
    assert all(
        same(a, b) for a, b in zip(run(again, 20, 30, tokenizer), batches[20:30], strict=True)
    )
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 9


def test_a_damaged_sense_is_absent_and_the_rest_is_used(data, tokenizer, damage, tmp_path):
    """Only what was damaged is missing, of the very samples that are planned, also on resume."""
    tars = sorted(data.glob("*.tar"))
    damaged = damage_some(tars, damage)
    loader = Loader(settings(data, max_bad=0.9), seed=3, folder=tmp_path)
    steps = WINDOW * 6  # an epoch
    batches = run(loader, 0, steps, tokenizer)
    lines = [json.loads(x) for x in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert {(line["number"], line["member"]) for line in lines} == damaged
    lost = 0
    for step, batch in enumerate(batches):
        expected = planned(loader, step)
        for row, pick in enumerate(loader.plan.batch(step)):
            for sense, extension in (("image", "jpg"), ("audio", "wav"), ("text", "txt")):
                if (pick.number, extension) in damaged:
                    alone = sum(row in rows for rows in expected.values()) == 1
                    if not alone:  # of a text alone nothing is left: another takes its place
                        expected[sense].remove(row)
                        lost += 1
        for sense in ("image", "audio"):
            assert batch[f"{sense}/rows"].tolist() == expected[sense]
        texts = [row for row in batch["text/rows"].tolist() if row < loader.config.batch_size]
        assert texts == expected["text"]
    assert lost > 5
    for workers in (0, 2):
        config = settings(data, max_bad=0.9, workers=workers)
        again = Loader(config, seed=3, folder=tmp_path)
        repeated = run(again, 20, 26, tokenizer)
        assert all(same(a, b) for a, b in zip(repeated, batches[20:26], strict=True))
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == len(damaged)


def test_a_sample_that_lost_what_its_source_must_have_is_replaced(data, tokenizer, damage):
    damaged = damage_some(sorted(data.glob("*.tar")), damage)
    config = settings(data, max_bad=0.9, require=("image+text",), extra_texts=0)
    loader = Loader(config, seed=3)
    for batch in run(loader, 0, WINDOW * 4, tokenizer):
        assert batch["image/rows"].tolist() == batch["text/rows"].tolist() == [*range(8)]
    assert {(f.number, f.member) for f in loader.quarantine.faults.values()} <= damaged


def test_with_a_json_its_text_is_absent(tmp_path, tokenizer, damage):
    """What language it is in, and whether it is a question, stood there."""
    data = write_data(tmp_path / "data", (12,), senses=("image+text",))
    damage(data / "train-000000.tar", 4, "json")
    loader = Loader(settings(data, max_bad=0.9, batch_size=12, extra_texts=0), seed=3)
    batch = loader.batch(0, tokenizer, MODEL)
    row = [pick.number for pick in loader.plan.batch(0)].index(4)
    assert batch.parts["image"].rows.tolist() == [*range(12)]
    assert batch.parts["text"].rows.tolist() == [r for r in range(12) if r != row]


def damage_some(tars, damage) -> set[tuple[int, str]]:
    """A picture, a recording and a text of each shard; the numbers and members of these."""
    damaged, start = set(), 0
    for tar in tars:
        senses = open_index(tar).samples["senses"]
        for row, extension in ((0, "jpg"), (3, "wav"), (9, "txt")):
            place = first_with(senses, row, extension)
            damage(tar, place, extension)
            damaged.add((start + place, extension))
        start += len(senses)
    return damaged


def test_the_quarantine_is_exactly_what_was_damaged(tmp_path, tokenizer):
    """One in a hundred members has one random byte changed; every batch is full all the same."""
    data = write_data(tmp_path / "data", (250, 250), senses=("image+audio+text",))
    rng, injected = np.random.default_rng(0), set()
    for number in rng.choice(500, 20, replace=False).tolist():  # of 2,000 members
        tar = data / f"train-{number // 250:06d}.tar"
        member = open_index(tar).members(number % 250)[int(rng.integers(4))]
        with tar.open("r+b") as file:
            place = member.offset + int(rng.integers(member.size))
            file.seek(place)
            old = file.read(1)[0]
            file.seek(place)
            file.write(bytes([old ^ int(rng.integers(1, 256))]))
        injected.add((tar.name, f"s{number:05d}", member.extension))
    config = settings(data, batch_size=20, extra_texts=0, damaged="drop")
    loader = Loader(config, seed=3, folder=tmp_path)
    batches = run(loader, 0, 4 * WINDOW, tokenizer)  # 640 samples: an epoch and more
    lines = [json.loads(x) for x in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert {(x["shard"], x["key"], x["member"]) for x in lines} == injected
    assert len(lines) == 20
    assert all(len(batch[f"{s}/rows"]) == 20 for batch in batches for s in BITS)


def first_with(senses, row: int, extension: str) -> int:
    """The first row from `row` on that has such a member."""
    bit = {"jpg": 1, "wav": 2, "txt": 4}[extension]
    return next(i for i in range(row, len(senses)) if senses[i] & bit)


def test_too_much_damage_stops_the_run(tmp_path, tokenizer, damage):
    data = write_data(tmp_path / "data", (40,), senses=("text",))
    for row in range(6):
        damage(data / "train-000000.tar", row, "txt")
    with pytest.raises(
        ValueError, match=r"share of 0.05 that data.max_bad allows; the last: shard"
    ):
        run(Loader(settings(data), seed=3), 0, 20, tokenizer)
    # Control: what is allowed does not stop it.
    run(Loader(settings(data, max_bad=0.2), seed=3), 0, 20, tokenizer)


@pytest.mark.parametrize("rule", ["absent", "drop"])
def test_half_damaged_stops_the_run_also_when_all_of_it_is_known(tmp_path, tokenizer, damage, rule):
    """Of a small set, and again by a run that goes on, to which no damage is new."""
    data = write_data(tmp_path / "data", (60,), senses=("image+text",))
    for row in range(0, 60, 2):
        damage(data / "train-000000.tar", row, "jpg")
    few = settings(data, batch_size=12, damaged=rule, extra_texts=0)
    message = "damaged samples among .* are more than the share of 0.05"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            run(Loader(few, seed=3, folder=tmp_path), 0, 2 * WINDOW, tokenizer)
    run(Loader(replace(few, max_bad=0.7), seed=3), 0, 5, tokenizer)


def test_of_the_first_samples_more_may_be_damaged_but_not_half():
    fault = Fault("set", 0, "a.tar", "k", "jpg", "cut", 0)
    Quarantine(None, 0.05, 10_000).add([fault], 2, 10)
    with pytest.raises(ValueError, match="5 damaged samples among 10"):
        Quarantine(None, 0.05, 10_000).add([fault], 5, 10)
    known = Quarantine(None, 0.05, 10_000)
    for _ in range(20):
        known.add([fault], 2, 50)
    with pytest.raises(ValueError, match="75 damaged samples among 1050"):
        known.add([], 35, 50)


def test_where_all_is_damaged_there_is_no_substitute(tmp_path, tokenizer, damage):
    data = write_data(tmp_path / "data", (12,), senses=("text",))
    for row in range(12):
        damage(data / "train-000000.tar", row, "json")
    with pytest.raises(ValueError, match="16 samples in a row are damaged"):
        run(Loader(settings(data), seed=3), 0, 1, tokenizer)


@pytest.mark.parametrize("kind", ["jpg and txt", "flac and json"])
def test_a_stranger_s_shards_train_without_conversion(tmp_path, kind):
    """Written by webdataset as it comes, without index or split in the name; sound at 44.1 kHz."""
    with webdataset.TarWriter(str(tmp_path / "00000.tar")) as writer:
        for number in range(20):
            key, members = {"__key__": f"{number:09d}"}, make_members(number, "image+text")
            if kind == "jpg and txt":
                writer.write(key | {"jpg": members["jpg"], "txt": members["txt"]})
            else:
                sound = np.random.default_rng(number).integers(-9000, 9000, 9000, np.int16)
                file = io.BytesIO()
                soundfile.write(file, sound, 44_100, format="FLAC")
                caption = {"caption": f"sample {number}"}
                writer.write(key | {"flac": file.getvalue(), "json": caption})
    config = debug()
    config = replace(
        config,
        data=settings(tmp_path / "*.tar"),
        train=replace(config.train, steps=2, save_every=2),
    )
    train.train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    sense = "image" if kind == "jpg and txt" else "audio"
    assert f"contrastive/{sense}-text" in json.loads(lines[-1])
    assert not list(tmp_path.glob("*.idx"))
    with pytest.raises(ValueError, match=r"tars of other names are taken by a pattern"):
        Loader(settings(tmp_path))
