"""VQA 2.0: questions about COCO's images with ten answers each.

In `root`, as unpacked: `v2_OpenEnded_mscoco_{train2014,val2014,test2015}_questions.json`,
`v2_mscoco_{train2014,val2014}_annotations.json`, and COCO's `train2014/`, `val2014/`, `test2015/`.
One sample a question, which is its text. Meta: `question_id`, `image_id`, and but for test, whose
answers are not public, `answers` (all ten), `multiple_choice_answer`, `question_type`,
`answer_type`.
Goyal et al., "Making the V in VQA Matter", 2017.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.recipes import files
from data.record import Record

PAGE = "https://visualqa.org/download.html"
SPLITS = {"train": "train2014", "val": "val2014", "test": "test2015"}
KINDS = ("multiple_choice_answer", "question_type", "answer_type")


def read(root: Path) -> Iterator[Record]:
    """Yield the questions of the user's copy."""
    return files.present(_records(root), "vqav2", PAGE)


def _records(root: Path) -> Iterator[Record]:
    names = {split: f"v2_OpenEnded_mscoco_{f}_questions.json" for split, f in SPLITS.items()}
    for split, path in files.find(root, names, PAGE).items():
        folder = SPLITS[split]
        answers = {} if split == "test" else _answers(root / f"v2_mscoco_{folder}_annotations.json")
        for question in files.entries(path, "questions", ("question_id", "image_id", "question")):
            question_id, image_id = question["question_id"], question["image_id"]
            if split != "test" and question_id not in answers:
                raise ValueError(f"question {question_id} of {path} has no answers in {root}")
            yield Record(
                key=str(question_id),
                image=root / folder / f"COCO_{folder}_{image_id:012}.jpg",
                texts=(question["question"].strip(),),
                split=split,
                meta={"question_id": question_id, "image_id": image_id}
                | answers.get(question_id, {}),
            )


def _answers(path: Path) -> dict[int, dict[str, Any]]:
    found = {}
    listed = files.entries(files.require(path, PAGE), "annotations", ("question_id", *KINDS))
    for entry in listed:
        where = f"question {entry['question_id']} of {path}"
        answers = files.check(entry, ("answers",), where)["answers"]
        texts = [files.check(answer, ("answer",), where)["answer"] for answer in answers]
        found[entry["question_id"]] = {"answers": texts} | {kind: entry[kind] for kind in KINDS}
    return found
