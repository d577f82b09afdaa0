"""Miniatures of the official releases of recordings: names and fields as there.

Media are empty files, but where their headers are read.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from data.record import Record
from tests.data.miniatures import Case, write


def librispeech(root: Path) -> Iterator[Record]:
    chapter = root / "LibriSpeech/dev-clean/84/121123"
    texts = ("GO DO YOU HEAR", "BUT IN LESS THAN FIVE MINUTES")
    lines = [f"84-121123-{n:04} {text}" for n, text in enumerate(texts)]
    write(chapter / "84-121123.trans.txt", "\n".join(lines) + "\n")
    for n, text in enumerate(texts):
        audio = write(chapter / f"84-121123-{n:04}.flac")
        meta = {"speaker": 84, "chapter": 121123, "utterance": n}
        yield Record(audio.stem, audio=audio, texts=(text,), split="dev-clean", meta=meta)


def esc50(root: Path) -> Iterator[Record]:
    names = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = [["1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"]]
    rows += [["5-9032-A-14.wav", 5, 14, "chirping_birds", False, 9032, "A"]]
    write(root / "meta/esc50.csv", [names, *rows])
    for name, fold, target, category, esc10, _, _ in rows:
        yield Record(
            name[:-4],
            audio=write(root / "audio" / name),
            texts=(category.replace("_", " "),),
            split=f"fold{fold}",
            meta={"fold": fold, "target": target, "category": category, "esc10": esc10},
        )


def speech_commands(root: Path) -> Iterator[Record]:
    write(root / "_background_noise_/white_noise.wav")
    write(root / "validation_list.txt", "yes/0a7c2a8d_nohash_1.wav\n")
    write(root / "testing_list.txt", "no/01bb6a2a_nohash_0.wav\n")
    for split, label, speaker, n in (
        ("train", "yes", "0a7c2a8d", 0),
        ("val", "yes", "0a7c2a8d", 1),
        ("test", "no", "01bb6a2a", 0),
    ):
        key = f"{label}/{speaker}_nohash_{n}"
        meta = {"label": label, "speaker": speaker, "utterance": n}
        yield Record(key, audio=write(root / f"{key}.wav"), texts=(label,), split=split, meta=meta)


def clotho(root: Path) -> Iterator[Record]:
    names = ["file_name", *(f"caption_{n}" for n in range(1, 6))]
    for folder, split in (("development", "train"), ("validation", "val"), ("evaluation", "test")):
        name = "Distorted AM Radio noise v1.2.wav"
        captions = [f"A muddled noise, take {n}" for n in range(5)]
        write(root / f"clotho_captions_{folder}.csv", [names, [name, *captions]])
        yield Record(
            name[:-4],
            audio=write(root / folder / name),
            texts=tuple(captions),
            split=split,
            meta={"file_name": name},
        )


def spokencoco(root: Path) -> Iterator[Record]:
    for split in ("train", "val"):
        image = f"{split}2014/COCO_{split}2014_000000325114.jpg"
        captions = [
            {"text": text, "speaker": speaker, "uttid": f"{speaker}-3LUY_325114_{n}"}
            | {"wav": f"wavs/{split}/0/{speaker}-3LUY_325114_{n}.wav"}
            for n, (speaker, text) in enumerate((("m07", "A URINAL"), ("m22", "A WHITE URINAL")))
        ][: 2 if split == "train" else 1]
        write(root / f"SpokenCOCO_{split}.json", {"data": [{"image": image, "captions": captions}]})
        write(root / image)
        for caption in captions:
            yield Record(
                caption["uttid"],
                root / image,
                write(root / caption["wav"]),
                (caption["text"],),
                split=split,
                meta={"image_id": 325114, "speaker": caption["speaker"]},
            )


def localized_narratives(root: Path) -> Iterator[Record]:
    for name, shard, dataset, image_id, image in (
        ("coco_train", "-00001-of-00004", "mscoco_train2017", "9", "train2017/000000000009.jpg"),
        ("coco_val", "", "mscoco_val2017", "137576", "val2017/000000137576.jpg"),
        ("open_images_test", "", "open_images", "000a", "test/000a.jpg"),
        ("flickr30k_val", "", "Flickr30k", "219843859", "flickr30k-images/219843859.jpg"),
    ):
        recording = f"{name}/{name}_{image_id}_93.ogg"
        line = {"dataset_id": dataset, "image_id": image_id, "annotator_id": 93, "caption": "Cows "}
        line |= {"timed_caption": [{"utterance": "Cows", "start_time": 0.0, "end_time": 0.4}]}
        line |= {"traces": [[{"x": 0.2, "y": -0.05, "t": 0.022}]], "voice_recording": recording}
        write(root / f"{name}_localized_narratives{shard}.jsonl", json.dumps(line) + "\n")
        if dataset == "Flickr30k":  # the files have more digits than the annotations
            recording = f"{name}/{name}_0000000219843859_93.ogg"
        yield Record(
            f"{name}_{image_id}_93",
            write(root / image),
            write(root / "voice-recordings" / recording),
            ("Cows",),
            split=name.rpartition("_")[2],
            meta={"dataset": dataset, "image_id": image_id, "annotator_id": 93},
        )


def audiocaps(root: Path) -> Iterator[Record]:
    names = ["audiocap_id", "youtube_id", "start_time", "caption"]
    write(root / "train.csv", [names, [91139, "r1nicOVtvkQ", 130, "A woman talks, water pours"]])
    rows = [[103541, "-FsvS5dL5SY", 30, "Birds chirp"], [103540, "7fmOlUlwoNg", 20, "Clanking"]]
    rows += [[103542, "-FsvS5dL5SY", 30, "Birds sing"]]
    write(root / "test.csv", [names, *rows])
    meta = {"youtube_id": "r1nicOVtvkQ", "start_time": 130, "audiocap_ids": [91139]}
    yield Record(
        "r1nicOVtvkQ_130",
        audio=write(root / "audio/train/91139.flac"),
        texts=("A woman talks, water pours",),
        meta=meta,
    )
    meta = {"youtube_id": "-FsvS5dL5SY", "start_time": 30, "audiocap_ids": [103541, 103542]}
    yield Record(
        "-FsvS5dL5SY_30",
        audio=write(root / "audio/test/Y-FsvS5dL5SY_30_40.wav"),
        texts=("Birds chirp", "Birds sing"),
        split="test",
        meta=meta,
    )
    meta = {"youtube_id": "7fmOlUlwoNg", "start_time": 20, "audiocap_ids": [103540]}
    yield Record(
        "7fmOlUlwoNg_20",
        audio=write(root / "audio/7fmOlUlwoNg.wav"),
        texts=("Clanking",),
        split="test",
        meta=meta,
    )


CASES = [
    Case("audiocaps", audiocaps, "*.csv"),
    Case("clotho", clotho, "*.csv"),
    Case("esc50", esc50, "meta/esc50.csv"),
    Case("librispeech", librispeech, "LibriSpeech/*/*/*/*.trans.txt"),
    Case("localized_narratives", localized_narratives, "*.jsonl"),
    Case("speech_commands", speech_commands, "testing_list.txt"),
    Case("spokencoco", spokencoco, "*.json"),
]
