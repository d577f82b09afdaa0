"""Search on shards with several captions, shared texts and absent senses, and on miniatures."""

import base64
import sys
from itertools import permutations

import numpy as np
import pytest
import torch

from eval.bench import Bench
from eval.corpus import Corpus
from eval.shards import Shards
from eval.sides import Side, relevant
from eval.tasks.retrieval import positions
from eval.tasks.search import Found, chance, expected_precision, hit, search, search1k
from tests.data import picture_miniatures, sound_miniatures
from tests.data.corpora import pack
from tests.data.samples import picture
from tests.data.test_recipes_muge import lines, table
from tests.eval.copies import packed
from tests.eval.greys import Knowing, members, write

task = sys.modules["eval.tasks.search"]


def test_every_caption_is_asked_once_and_any_of_them_is_found(measure, tmp_path):
    both, several = "image+audio", [["a 0", "the 0"], ["one 1"], ["a 2", "my 2", "its 2"]]
    samples = [members(n, both, captions=texts) for n, texts in enumerate(several)]
    samples += [members(3, "image", captions=["a 3"]), members(4, "audio"), members(5, "image")]
    results = measure(write(tmp_path, samples), search, model=Knowing())
    counted = {
        "text->image": (7, 5),
        "image->text": (4, 7),
        "text->audio": (6, 4),
        "audio->text": (3, 7),
        "image->audio": (3, 4),
        "audio->image": (3, 5),
        "audio+image->text": (3, 7),
        "image+text->audio": (3, 4),
        "audio+text->image": (3, 5),
    }
    for direction, (asked, gallery) in counted.items():
        for metric in ("R@1", "R@5", "R@10", "mean_recall", "mAP@10"):
            score = results[f"test/search/{direction}/{metric}"]
            assert (score.value, score.n, score.gallery) == (1.0, asked, gallery), direction
        assert results[f"test/search/{direction}/median_rank"].value == 1
        assert results[f"untrained/test/search/{direction}/R@1"].n == asked
    assert len(results) == 3 * 9 * 6
    assert results["test/search/image->text/R@1"].protocol == (
        "1 to 3 right answers a query; 2 of 6 things have no text; "
        "1 queries without answer are not asked"
    )
    assert results["test/search/text->image/R@1"].protocol == (
        "1 right answer a query; 1 of 6 things have no image; "
        "intervals over the 4 things that queries are of"
    )
    expected = np.mean([hit(1, right, 7) for right in (2, 1, 3, 1)])
    assert results["chance/test/search/image->text/R@1"].value == pytest.approx(expected)


def test_a_text_that_several_have_is_one_item_and_a_picture_that_several_hold_too(
    measure, tmp_path
):
    samples = [members(1, "image", captions=["cow 1"], image_id=n) for n in (7, 8)]
    samples += [
        members(2, "image+audio", captions=[f"take {n} of 2"], image_id=9) for n in range(3)
    ]
    results = measure(write(tmp_path, samples), search, model=Knowing())
    found = {k.split("/", 2)[2]: v for k, v in results.items() if k.startswith("test/")}
    assert (found["text->image/R@1"].n, found["text->image/R@1"].gallery) == (4, 3)
    assert (found["image->audio/R@1"].n, found["image->audio/R@1"].gallery) == (1, 3)
    assert found["audio->image/R@1"].value == found["text->image/mAP@10"].value == 1
    assert found["text->image/R@1"].protocol == (
        "1 to 2 right answers a query; intervals over the 2 things that queries are of"
    )


def test_wrong_texts_are_not_found(measure, tmp_path):
    samples = [members(n, "image", captions=[f"a {n + 1}"]) for n in range(6)]
    results = measure(write(tmp_path, samples), search, model=Knowing())
    assert results["test/search/text->image/R@1"].value == 0
    assert results["test/search/image->text/R@1"].value == 0


def test_five_galleries_are_searched_apart(measure, tmp_path, monkeypatch):
    """Greys come twice: in one gallery the other one is a tie and in two it is not there."""
    samples = [members(n % 3, "image", captions=[f"a{n} {n % 3}"]) for n in range(7)]
    write(tmp_path, samples)
    monkeypatch.setattr(task, "FOLDS", 2)
    monkeypatch.setattr(task, "FOLD", 3)
    results = measure(tmp_path, search1k, model=Knowing())
    score = results["test/search1k/text->image/R@1"]
    assert (score.value, score.n, score.gallery) == (1.0, 6, 3)
    assert score.protocol.endswith("over the queries of 2 galleries of 3 things")
    assert results["chance/test/search1k/text->image/R@1"].value == pytest.approx(1 / 3)
    whole = measure(tmp_path, search, model=Knowing())
    assert whole["test/search/text->image/R@1"].value == 0
    monkeypatch.setattr(task, "FOLD", 4)
    with pytest.raises(ValueError, match=r"search1k asks for 8 things, .* \(test\) has 7"):
        measure(tmp_path, search1k, model=Knowing())


def test_chance_is_the_mean_over_all_orders():
    for right, size in ((1, 5), (2, 5), (4, 5), (5, 5), (2, 3)):
        orders = np.array([*permutations([1] * right + [0] * (size - right))])
        for k in (1, 2, 5):
            assert hit(k, right, size) == pytest.approx(orders[:, :k].any(1).mean())
        places = np.arange(1, size + 1)
        precision = (orders * orders.cumsum(1) / places).sum(1) / right
        assert expected_precision(right, size) == pytest.approx(precision.mean())
    many = np.full(1, 25), np.full(1, 25_000)  # exact with numbers of COCO's size
    figures = dict(chance(Found(np.ones(1), np.ones(1), *many, np.zeros(1), ""), seed=0))
    assert figures["R@10"].value == pytest.approx(10 * 25 / 25_000, rel=0.01)
    assert figures["median_rank"].value == pytest.approx(25_000 * (1 - 0.5 ** (1 / 25)), rel=0.01)


def test_what_is_right_are_items_of_the_same_things():
    asked = Side(torch.zeros(3, 1), [[0, 2], [1], [3]])
    gallery = Side(torch.zeros(4, 1), [[2], [0], [0, 1], [4]])
    assert relevant(asked, gallery) == [[0, 1, 2], [2], []]
    assert gallery.of(range(1, 3)).things == [[2], [1]]


SIX = {"text->image", "image->text", "text->audio", "audio->text", "image->audio", "audio->image"}
JOINT = {"audio+image->text", "audio+text->image", "image+text->audio"}
MINIATURES = [
    ("clotho", sound_miniatures.clotho, "test", {"text->audio", "audio->text"}, 5),
    ("audiocaps", sound_miniatures.audiocaps, "test", {"text->audio", "audio->text"}, 3),
    ("localized_narratives", sound_miniatures.localized_narratives, "val", SIX | JOINT, 1),
    ("spokencoco", sound_miniatures.spokencoco, "train", SIX | JOINT, 2),
    ("coco", picture_miniatures.coco_2017, "val", {"text->image", "image->text"}, 3),
    ("coco", picture_miniatures.coco_karpathy, "test", {"text->image", "image->text"}, 1),
    ("flickr30k", picture_miniatures.flickr30k_karpathy, "test", {"text->image", "image->text"}, 1),
]


@pytest.mark.parametrize(
    ("recipe", "build", "split", "directions", "texts"),
    MINIATURES,
    ids=[build.__name__ for _, build, *_ in MINIATURES],
)
def test_a_packed_copy_is_searched(recipe, build, split, directions, texts, measure, tmp_path):
    data = packed(recipe, build, tmp_path)
    results = measure(data, search, split)
    found = {name.split("/")[2] for name in results if name.startswith(f"{split}/")}
    assert found == directions
    asked = results[f"{split}/search/{min(directions & SIX, key=str)}/R@10"]
    assert asked.value == 1
    texted = next(d for d in ("text->image", "text->audio") if d in directions)
    assert results[f"{split}/search/{texted}/R@1"].n == texts


def test_a_query_of_muge_has_all_its_pictures(measure, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    queries = [(1, "蕾丝裙", [11, 12]), (2, "红色裙", [12]), (3, "自行车", [13])]
    lines(
        copy / "MR_valid_queries.jsonl",
        *({"query_id": q, "query_text": t, "item_ids": i} for q, t, i in queries),
    )
    rows = {str(n): base64.b64encode(picture(n)).decode() for n in range(11, 15)}
    table(copy / "MR_valid_imgs.tsv", rows)
    assert pack(copy, tmp_path / "shards", "--recipe", "muge") == 0
    results = measure(tmp_path / "shards", search)
    score = results["val/search/text->image/R@1"]
    assert (score.n, score.gallery, score.protocol) == (3, 4, "1 to 2 right answers a query")
    assert results["val/search/image->text/R@1"].n == 3


def test_the_emoji_are_searched_as_retrieval_does_it(measure, small_data, fresh):
    """All samples of `new` are whole, and there is one for each concept."""
    results = measure(small_data, search, "new")
    bench = Bench(fresh, fresh, Corpus(small_data), small_data, note=lambda text: None)
    for source, target in (("audio", "image"), ("image", "text"), ("audio+text", "image")):
        ranks = positions(bench, fresh, "new", source, target).numpy()
        score = results[f"new/search/{source}->{target}/median_rank"]
        assert (score.value, score.n) == (np.median(ranks), len(ranks))


def test_one_sense_alone_is_refused(measure, tmp_path):
    data = write(tmp_path, [members(1, "image"), members(2, "image")])
    with pytest.raises(ValueError, match=r"\(test\) must have two senses of one thing"):
        measure(data, search)


def test_a_damaged_sample_is_named_and_texts_are_read_without_it(measure, tmp_path):
    cut = {"png": members(1, "image")["png"][:60], "txt": b"a 1"}
    write(tmp_path, [cut])
    (entry,) = Shards(tmp_path).entries()
    assert (entry.texts, entry.senses) == (("a 1",), {"image", "text"})
    with pytest.raises(ValueError, match=r"test-000000.tar', sample 's0', member .png"):
        measure(tmp_path, search)


def test_media_come_a_few_at_a_time_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["eval.shards"], "BLOCK", 2)
    write(tmp_path, [members(n, "image+audio", captions=[f"a {n}"]) for n in range(5)])
    blocks = [*Shards(tmp_path).items([4, 0, 3, 1, 2], "image+text")]
    assert [len(block) for block in blocks] == [2, 2, 1]
    model, found = Knowing(), [item for block in blocks for item in block]
    assert [[model.number(part) for part in item] for item in found] == [
        [n, n] for n in (4, 0, 3, 1, 2)
    ]


@pytest.mark.parametrize(
    ("split", "said"),
    [(None, "one of dev_clean, which"), ("test", "got test")],
)
def test_a_split_that_is_not_there_is_told(split, said, measure, tmp_path):
    data = write(tmp_path, [members(1, "image", captions=["a 1"])], "dev_clean")
    with pytest.raises(ValueError, match=said):
        measure(data, search, split)
    with pytest.raises(ValueError, match=r"holds no SPLIT-\*\.tar"):
        measure(tmp_path / "nowhere", search)
