"""Miniatures of the official releases of pictures: names and fields as there, media empty."""

from collections.abc import Iterator
from pathlib import Path

from data.record import Record
from tests.data.miniatures import Case, write


def coco_captions(images: dict[int, str], captions: list[tuple[int, int, str]]) -> dict:
    return {
        "info": {"description": "COCO Dataset", "url": "http://cocodataset.org", "year": 2017},
        "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4}],
        "images": [
            {"license": 4, "file_name": name, "height": 427, "width": 640, "id": image_id}
            for image_id, name in images.items()
        ],
        "annotations": [
            {"image_id": image_id, "id": caption_id, "caption": text}
            for image_id, caption_id, text in captions
        ],
    }


def coco_2017(root: Path) -> Iterator[Record]:
    images = {397133: "000000397133.jpg", 37777: "000000037777.jpg"}
    captions = [(397133, 370509, "A man is in a kitchen."), (37777, 5, "A fridge.\n")]
    captions += [(397133, 370510, "A baker at work.")]
    write(root / "annotations/captions_val2017.json", coco_captions(images, captions))
    train = coco_captions({9: "000000000009.jpg"}, [(9, 661611, "Bread and fruit.")])
    write(root / "annotations/captions_train2017.json", train)
    kitchen = ("A man is in a kitchen.", "A baker at work.")
    yield Record(
        "000000000009",
        write(root / "train2017/000000000009.jpg"),
        texts=("Bread and fruit.",),
        meta={"image_id": 9, "caption_ids": [661611]},
    )
    yield Record(
        "000000037777",
        write(root / "val2017/000000037777.jpg"),
        texts=("A fridge.",),
        split="val",
        meta={"image_id": 37777, "caption_ids": [5]},
    )
    yield Record(
        "000000397133",
        write(root / "val2017/000000397133.jpg"),
        texts=kitchen,
        split="val",
        meta={"image_id": 397133, "caption_ids": [370509, 370510]},
    )


def coco_2014(root: Path) -> Iterator[Record]:
    for split, image_id in (("train", 57870), ("val", 184613)):
        name = f"COCO_{split}2014_{image_id:012}.jpg"
        captions = coco_captions({image_id: name}, [(image_id, 787980, "A restaurant.")])
        write(root / f"annotations/captions_{split}2014.json", captions)
        image = write(root / f"{split}2014" / name)
        meta = {"image_id": image_id, "caption_ids": [787980]}
        yield Record(image.stem, image, texts=("A restaurant.",), split=split, meta=meta)


def karpathy(imgid: int, split: str, filename: str, more: dict) -> dict:
    sentence = {"tokens": ["a", "cow"], "raw": "A cow. ", "imgid": imgid, "sentid": 770337 + imgid}
    entry = {"filename": filename, "imgid": imgid, "split": split, "sentences": [sentence]}
    return entry | {"sentids": [770337 + imgid]} | more


def coco_karpathy(root: Path) -> Iterator[Record]:
    wanted = (("test", "val"), ("train", "train"), ("restval", "val"), ("val", "val"))
    images = []
    for n, (split, folder) in enumerate(wanted):
        name = f"COCO_{folder}2014_{n:012}.jpg"
        images += [karpathy(n, split, name, {"filepath": f"{folder}2014", "cocoid": n})]
        image = write(root / f"{folder}2014" / name)
        meta = {"image_id": n, "caption_ids": [770337 + n]}
        if split == "restval":
            split, meta = "train", meta | {"restval": True}
        yield Record(image.stem, image, texts=("A cow.",), split=split, meta=meta)
    write(root / "dataset_coco.json", {"images": images, "dataset": "coco"})


def flickr30k_token(root: Path) -> Iterator[Record]:
    lines = [
        f"{name}.jpg#{n}\tCaption {n} of it ."
        for name in ("1000092795", "10002456")
        for n in range(5)
    ]
    write(root / "results_20130124.token", "\n".join(lines) + "\n")
    for name in ("1000092795", "10002456"):
        yield Record(
            name,
            write(root / f"flickr30k-images/{name}.jpg"),
            texts=tuple(f"Caption {n} of it ." for n in range(5)),
            meta={"image_id": name, "caption_ids": [f"{name}.jpg#{n}" for n in range(5)]},
        )


def flickr30k_karpathy(root: Path) -> Iterator[Record]:
    images = []
    for n, split in enumerate(("train", "val", "test")):
        images += [karpathy(n, split, f"100009279{n}.jpg", {})]
        image = write(root / f"flickr30k-images/100009279{n}.jpg")
        meta = {"image_id": f"100009279{n}", "caption_ids": [770337 + n]}
        yield Record(image.stem, image, texts=("A cow.",), split=split, meta=meta)
    write(root / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})


def vqav2(root: Path) -> Iterator[Record]:
    head = {"info": {"version": "2.0"}, "data_type": "mscoco", "license": {"name": "CC BY 4.0"}}
    for split, folder in (("train", "train2014"), ("val", "val2014"), ("test", "test2015")):
        question = {"image_id": 262148, "question": "Is he down?", "question_id": 262148000}
        questions = head | {"task_type": "Open-Ended", "data_subtype": folder}
        questions |= {"questions": [question]}
        write(root / f"v2_OpenEnded_mscoco_{folder}_questions.json", questions)
        answers = ["yes"] * 9 + ["no"]
        kinds = {"question_type": "is he", "multiple_choice_answer": "yes", "answer_type": "yes/no"}
        annotation = {"image_id": 262148, "question_id": 262148000} | kinds
        annotation["answers"] = [
            {"answer": answer, "answer_confidence": "maybe", "answer_id": n}
            for n, answer in enumerate(answers, 1)
        ]
        if split != "test":
            annotations = head | {"data_subtype": folder, "annotations": [annotation]}
            write(root / f"v2_mscoco_{folder}_annotations.json", annotations)
        meta = {"question_id": 262148000, "image_id": 262148}
        yield Record(
            "262148000",
            write(root / f"{folder}/COCO_{folder}_000000262148.jpg"),
            texts=("Is he down?",),
            split=split,
            meta=meta if split == "test" else meta | {"answers": answers} | kinds,
        )


CASES = [
    Case("coco", coco_2017, "annotations/*.json"),
    Case("coco", coco_2014, "annotations/*.json"),
    Case("coco", coco_karpathy, "dataset_coco.json"),
    Case("flickr30k", flickr30k_token, "results_20130124.token"),
    Case("flickr30k", flickr30k_karpathy, "dataset_flickr30k.json"),
    Case("vqav2", vqav2, "v2_OpenEnded_mscoco_*_questions.json"),
    Case("vqav2", vqav2, "v2_mscoco_train2014_annotations.json"),
]
