"""Ranking: against brute force, pytrec_eval and torchmetrics, and against chance."""

import numpy as np
import pytest
import pytrec_eval
import torch
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
)

from eval.metrics import measure
from eval.ranking import TIE, average_precision, figures, nearest, positions, ranks
from eval.trec import write_qrels, write_run

DEPTHS = (1, 5, 10)


def unit(*shape: int, seed: int) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


def drawn(num_queries: int, num_items: int, most: int, seed: int) -> list[list[int]]:
    """One to `most` relevant items for each query."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, most + 1, num_queries)
    return [generator.permutation(num_items)[:size].tolist() for size in sizes]


def brute(queries: torch.Tensor, gallery: torch.Tensor, relevant: list[list[int]]) -> list:
    """Positions of all relevant items, sorted with every item that is not relevant TIE better."""
    found = []
    for query, right in zip(queries.double(), relevant, strict=True):
        scores = (query * gallery.double()).sum(1)
        keys = [(-s + TIE * (i in right), i in right) for i, s in enumerate(scores.tolist())]
        order = sorted(range(len(gallery)), key=lambda i: keys[i])
        found.append([place for place, i in enumerate(order, 1) if i in right])
    return found


def quantized(*shape: int, seed: int) -> torch.Tensor:
    """Small whole numbers: their products tie often, and exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 2, shape, generator=generator).float()


def test_ranks_are_those_worked_out_by_hand():
    gallery = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert ranks(queries, gallery, [[0], [2], [1]]).tolist() == [1, 3, 2]
    assert ranks(queries, gallery, [[0, 2], [2, 1], [1, 0, 2]]).tolist() == [1, 2, 1]
    # Right at places 1 and 3, at 2 and 3, at all: (1 + 2/3) / 2, (1/2 + 2/3) / 2, 1.
    precision = average_precision(queries, gallery, [[0, 2], [2, 1], [1, 0, 2]])
    assert precision.tolist() == pytest.approx([5 / 6, 7 / 12, 1.0])


@pytest.mark.parametrize("block", [7, 640, 4096])
def test_blocks_give_the_ranks_of_brute_force(block):
    queries, gallery = unit(61, 16, seed=0), unit(93, 16, seed=1)
    targets = torch.randint(93, (61,), generator=torch.Generator().manual_seed(2))
    order = (queries.double() @ gallery.double().T).argsort(dim=1, descending=True)
    places = (order == targets[:, None]).int().argmax(dim=1) + 1
    assert torch.equal(ranks(queries, gallery, targets[:, None].tolist(), block), places)
    scores, items = nearest(queries, gallery, 5, block)
    assert torch.equal(items, order[:, :5])
    torch.testing.assert_close(scores, (queries[:, None] * gallery[items]).sum(-1))


@pytest.mark.parametrize("make", [unit, quantized])
@pytest.mark.parametrize("seed", range(4))
def test_positions_are_those_of_a_sort_ties_and_duplicates_included(make, seed):
    queries, gallery = make(23, 6, seed=seed), make(40, 6, seed=seed + 100)
    gallery[30:] = gallery[:10]
    relevant = drawn(23, 40, 14, seed)
    found = positions(queries, gallery, relevant, depth=12, block=200).tolist()
    for ours, theirs in zip(found, brute(queries, gallery, relevant), strict=True):
        assert [place for place in ours if place <= 40] == theirs[:12]


@pytest.mark.parametrize("value", [0.125, float("nan")])
def test_a_constant_embedding_ranks_last_everywhere(value):
    same = torch.full((50, 64), value)
    assert ranks(same, same, [[i] for i in range(50)], block=900).tolist() == [50] * 50
    # The best of three can be last but two.
    assert ranks(same, same, [[0, 1, 2]] * 50).tolist() == [48] * 50
    assert average_precision(same, same, [[0, 1, 2]] * 50).max() == 0


def test_nan_is_last_where_it_is_right_and_first_where_it_is_not():
    gallery = torch.eye(4)
    gallery[1] = torch.nan
    assert ranks(torch.eye(4)[:1], gallery, [[0]]).tolist() == [2]
    assert ranks(torch.eye(4)[:1], gallery, [[1]]).tolist() == [4]
    assert ranks(torch.eye(4)[:1], gallery, [[0, 1]]).tolist() == [1]


def test_a_nearly_constant_embedding_scores_nothing():
    # Rounding alone tells these apart; a rank that counts only strictly better items calls it 1.
    same = unit(1, 64, seed=0) + 1e-9 * unit(200, 64, seed=1)
    assert (ranks(same, same, [[i] for i in range(200)]) > 10).all()


def test_what_scores_less_by_a_rounding_error_counts_as_a_tie():
    query, worse = (
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[1 - TIE / 2, 0.0], [1 - 3 * TIE, 0.0]]),
    )
    assert ranks(query, torch.cat([query, worse[:1]]), [[0]]).tolist() == [2]
    assert ranks(query, torch.cat([query, worse[1:]]), [[0]]).tolist() == [1]


def test_shuffled_pairs_score_chance():
    vectors = unit(2000, 32, seed=0)
    shuffled = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    assert (ranks(vectors, vectors, [[i] for i in range(2000)]) == 1).all()
    places = ranks(vectors, vectors, shuffled[:, None].tolist()).numpy()
    score = measure(places <= 200, seed=0)
    assert score.low < 0.1 < score.high
    assert 900 < np.median(places) < 1100


def test_two_equal_gallery_items_cannot_both_be_first():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert ranks(gallery, gallery, [[0], [1], [2]]).tolist() == [2, 2, 1]
    # Unless either is right: captions of one picture do not stand in each other's way.
    assert ranks(gallery, gallery, [[0, 1], [0, 1], [2]]).tolist() == [1, 1, 1]


def test_half_precision_is_scored_in_single():
    queries, gallery = unit(20, 16, seed=0).bfloat16(), unit(500, 16, seed=1).bfloat16()
    relevant = drawn(20, 500, 3, seed=0)
    found = positions(queries, gallery, relevant)
    assert torch.equal(found, positions(queries.float(), gallery.float(), relevant))


@pytest.mark.parametrize("seed", range(5))
def test_hit_rate_and_average_precision_are_those_of_torchmetrics(seed):
    queries, gallery = unit(12, 8, seed=seed), unit(25, 8, seed=seed + 50)
    relevant = drawn(12, 25, 9, seed)
    hits = ranks(queries, gallery, relevant)[:, None] <= torch.tensor(DEPTHS)
    whole = average_precision(queries, gallery, relevant, depth=25)
    for row, right in enumerate(relevant):
        scores = queries[row] @ gallery.T + 2  # torchmetrics takes no item below zero for relevant
        target = torch.zeros(25, dtype=torch.bool)
        target[right] = True
        theirs = [bool(retrieval_hit_rate(scores, target, k)) for k in DEPTHS]
        assert hits[row].tolist() == theirs
        # To the end of the list all definitions agree.
        assert whole[row] == pytest.approx(float(retrieval_average_precision(scores, target)))


def test_trec_eval_gives_our_figures_from_our_files(tmp_path):
    queries, gallery = unit(40, 16, seed=0), unit(60, 16, seed=1)
    asked, names = [f"q{i}" for i in range(40)], [f"图{i}" for i in range(60)]
    relevant = drawn(40, 60, 15, seed=2)
    write_run(tmp_path / "run", asked, names, *nearest(queries, gallery, 60))
    write_qrels(tmp_path / "qrels", asked, names, relevant)
    with (tmp_path / "run").open() as run, (tmp_path / "qrels").open() as qrels:
        judged = pytrec_eval.RelevanceEvaluator(
            pytrec_eval.parse_qrel(qrels), {"map_cut.10", "success.1,5,10", "recip_rank"}
        )
        theirs = judged.evaluate(pytrec_eval.parse_run(run))
    ours = dict(figures(queries, gallery, relevant, seed=0))
    for k in DEPTHS:
        theirs_k = np.mean([theirs[query][f"success_{k}"] for query in asked])
        assert ours[f"R@{k}"].value == pytest.approx(theirs_k, abs=1e-6)
    places = [round(1 / theirs[query]["recip_rank"]) for query in asked]
    assert ranks(queries, gallery, relevant).tolist() == places
    assert ours["median_rank"].value == np.median(places)
    three = [ours[f"R@{k}"].value for k in DEPTHS]
    assert ours["mean_recall"].value == pytest.approx(np.mean(three))
    # trec_eval divides by all relevant items, even where there are more than places.
    more = [max(1, len(right) / 10) for right in relevant]
    assert max(more) > 1 and min(more) == 1
    precision = average_precision(queries, gallery, relevant)
    cut = [theirs[query]["map_cut_10"] * factor for query, factor in zip(asked, more, strict=True)]
    assert precision.tolist() == pytest.approx(cut, abs=1e-6)
    assert ours["mAP@10"].value == pytest.approx(np.mean(cut), abs=1e-6)


def test_a_single_item_is_found():
    one = unit(1, 8, seed=0)
    ours = {name: score.value for name, score in figures(one, one, [[0]], seed=0)}
    assert ours == {
        "R@1": 1.0,
        "R@5": 1.0,
        "R@10": 1.0,
        "mean_recall": 1.0,
        "median_rank": 1.0,
        "mAP@10": 1.0,
    }


@pytest.mark.parametrize(
    ("relevant", "message"),
    [
        ([[0], []], "query 1 has no relevant item"),
        ([[0], [2, 2]], "query 1 has a relevant item twice"),
        ([[0], [3]], r"query 1 must be in a gallery of 3, got \[3\]"),
        ([[-1], [0]], "query 0 must be in a gallery of 3"),
        ([[0]], "1 lists for 2 queries"),
    ],
)
def test_relevant_items_that_cannot_be_scored_are_an_error(relevant, message):
    with pytest.raises(ValueError, match=message):
        ranks(torch.eye(3)[:2], torch.eye(3), relevant)


def test_what_a_trec_file_cannot_hold_is_an_error(tmp_path):
    scores, items = nearest(torch.eye(2), torch.eye(2), 2)
    for names in (["a", "b c"], ["a", ""], ["a", "a"]):
        with pytest.raises(ValueError, match="must be"):
            write_run(tmp_path / "run", names, ["x", "y"], scores, items)
        with pytest.raises(ValueError, match="must be"):
            write_qrels(tmp_path / "qrels", ["x", "y"], names, [[0], [1]])
    with pytest.raises(ValueError, match=r"finite.*'b'"):
        scores[1, 1] = torch.nan
        write_run(tmp_path / "run", ["a", "b"], ["x", "y"], scores, items)
    assert list(tmp_path.iterdir()) == []
