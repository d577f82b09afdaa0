"""Results as tables, and the tables as Markdown and for the terminal."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import rich.box
import rich.table

from eval import benchmarks, opt
from eval import protocol as card
from eval.metrics import Score
from eval.tasks.steps import STEPS

NAME = re.compile(
    r"((?P<control>untrained|shuffled|chance)/)?(?P<split>(?!untrained|shuffled|chance)[^/]+)/(?P<task>[a-z0-9]+)/"
    r"(?P<direction>((noisy|direct|reranked|blind|shuffled) )?"
    r"[a-z]+(-[a-z]{2})?(\+[a-z]+)*->[a-z]+(-[a-z]{2})?)/"
    r"(?P<metric>[A-Za-z0-9@_]+)"
)
"""Every result but those of real items, `real/SPLIT/SENSE/METRIC`."""

TITLES = {
    "retrieval": "Retrieval",
    "unseen": "Retrieval of concepts that training never met",
    "match": "Matching",
    "write": "Writing",
    "make": "Drawing and speaking",
    "look": "Drawn pictures beside real ones, in an extractor's features",
    "hear": "Speech, by an independent recogniser",
    "steps": "Steps of making, one candidate",
    "stamps": "Stamps: real voices, by caption",
    "classify": "Classification",
    "answer": "Answers to questions",
    "search": "Search",
    "search1k": "Search in five galleries of 1,000",
    "describe": "Descriptions",
    "recognise": "Recognition of speech",
}
CONTROLS = ("untrained", "shuffled", "chance")
Results = Mapping[str, Score]


@dataclass(frozen=True)
class Row:
    """One direction; `kind` is `model` or one of `CONTROLS`."""

    label: str
    kind: str
    scores: list[Score | None]


@dataclass(frozen=True)
class Table:
    """Rows of directions under columns of (group, metric)."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[Row]


def tables(results: Results) -> list[Table]:
    """The main tables; those without any result are left out."""
    hits = ["R@1", "R@5", "R@10", "median_rank"]
    plans = [
        ("retrieval", ("retrieval",), ("test", "new"), hits),
        ("unseen", ("retrieval",), ("unseen-test", "unseen-new"), hits),
        ("match", ("match",), ("test", "new"), ["accuracy"]),
        ("write", ("caption", "transcribe"), ("test", "new"), ["exact", "CER"]),
        ("make", ("draw", "speak"), ("test", "new"), ["judged", "real", "share"]),
        ("look", ("draw",), ("test",), ["FID", "KID"]),
        ("hear", ("speak",), ("test", "new"), ["WER", "real_WER", "CER", "real_CER"]),
        ("steps", ("steps",), ("test",), [f"judged@{n}" for n in STEPS]),
        ("stamps", ("stamps", "video"), ("test", "held"), ["R@1", "exact", "CER"]),
        ("classify", ("classify",), (), ["zero_shot@1", "zero_shot@5", "probe"]),
        ("answer", ("answer",), ("val",), ["exact", "chosen", "VQA", "VQA_chosen"]),
        ("search", ("search",), (), [*hits, "mean_recall", "mAP@10"]),
        ("search1k", ("search1k",), (), [*hits, "mean_recall", "mAP@10"]),
        (
            "describe",
            ("describe",),
            (),
            [*(f"BLEU_{n}" for n in range(1, 5)), "ROUGE_L", "CIDEr_D"],
        ),
        ("recognise", ("recognise",), (), ["WER", "CER"]),
    ]
    planned = []
    for title, tasks, splits, metrics in plans:
        named = splits or _splits(results, tasks)
        columns = [(split, metric) for split in named for metric in metrics]
        planned.append((results, TITLES[title], tasks, columns))
    planned += [(opt.card(results), *table) for table in opt.TABLES]
    return [
        Table(title, columns, rows)
        for found, title, tasks, columns in planned
        if (rows := [*_rows(found, tasks, columns)])
    ]


def _splits(results: Results, tasks: Sequence[str]) -> list[str]:
    """The splits that some tasks were measured on: of a data set any, as they came."""
    found = (match for match in map(NAME.fullmatch, results) if match and match["task"] in tasks)
    return [*dict.fromkeys(match["split"] for match in found)]


def _rows(results: Results, tasks: Sequence[str], columns: list[tuple[str, str]]) -> Iterator[Row]:
    """The model's directions, then those of each control, and chance in one row if it can."""
    found = [match for match in map(NAME.fullmatch, results) if match and match["task"] in tasks]
    for control in (None, *CONTROLS):
        mine = [match for match in found if match["control"] == control]
        rows = []
        for task, direction in dict.fromkeys((m["task"], m["direction"]) for m in mine):
            scores = [_find(results, control, task, direction, *column) for column in columns]
            if any(scores):
                name = direction.replace("->", " → ").replace("+", " + ")
                prefix = f"{control}, " if control else ""
                rows.append(Row(prefix + name, control or "model", scores))
        yield from _merged(rows) if control == "chance" else rows


def _merged(rows: list[Row]) -> list[Row]:
    """One row for all where no column has two values: chance is the same in every direction."""
    if not rows:
        return []
    columns = [[s for s in column if s] for column in zip(*(r.scores for r in rows), strict=True)]
    if any(len({score.value for score in column}) > 1 for column in columns):
        return rows
    return [Row("chance", "chance", [column[0] if column else None for column in columns])]


def _find(
    results: Results, control: str | None, task: str, direction: str, split: str, metric: str
) -> Score | None:
    prefix = f"{control}/" if control else ""
    if metric.startswith("real"):  # one figure for every source of the same target
        measured = metric.removeprefix("real").removeprefix("_") or "judged"
        made = f"{split}/{task}/{direction}/{measured}" in results
        target = direction.split("->")[1]
        return results.get(f"real/{split}/{target}/{measured}") if made and not control else None
    return results.get(f"{prefix}{split}/{task}/{direction}/{metric}")


def figure(value: float, metric: str) -> str:
    """A value as printed: ranks and distances as they are, all else in percent."""
    if metric in ("FID", "KID"):
        return f"{value:.3g}"
    if metric == "median_rank":
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    return f"{100 * value:.1f}"


def interval(score: Score, metric: str) -> str:
    """The 95 % interval as printed; nothing where it has no width."""
    if score.low == score.high:
        return ""
    return f"{figure(score.low, metric)}–{figure(score.high, metric)}"


def head(split: str, metric: str) -> tuple[str, str]:
    """What stands above a column: the table's title says whether its concepts are unseen."""
    words = "median" if metric == "median_rank" else metric.replace("real_", "real ")
    return split.removeprefix("unseen-"), words


def markdown(results: Results, meta: Mapping) -> str:
    """`results.md`: the main tables with intervals in small type, then what they were measured on.

    R@k, exact, CER, judged and share are in percent.
    """
    step = f" at step {meta['step']}" if "step" in meta else ""
    lines = [f"# {meta['config']}{step}", ""]
    for table in tables(results):
        heads = [" ".join(head(*column)) for column in table.columns]
        lines += [f"## {table.title}", "", f"| direction | {' | '.join(heads)} |"]
        lines += ["| --- |" + " ---: |" * len(heads)]
        for row in table.rows:
            cells = []
            for score, (_, metric) in zip(row.scores, table.columns, strict=True):
                small = interval(score, metric) if score else ""
                value = figure(score.value, metric) if score else ""
                cells.append(value + (f" <sub>{small}</sub>" if small else ""))
            lines.append(f"| {row.label} | {' | '.join(cells)} |")
        lines.append("")
    stated = [f"- {name}: {words}" for name, words in card.lines(meta)]
    lines += [protocol(meta), "", *stated, "", f"`{meta['command']}`", ""]
    return "\n".join(lines)


def protocol(meta: Mapping) -> str:
    """How the figures were measured, in a few sentences."""
    told = (
        f"Seed {meta['seed']}, data {meta['data'][:12]}, torch {meta['torch']}, "
        f"{meta['threads']} threads, {meta['machine']}."
    )
    if "held" in meta["galleries"]:
        return (
            "Stamps: galleries are the captions of a split in one language, each once; an answer "
            "is right if it is the caption, whichever stamp it is of. test: stamps that training "
            "never met; held: recordings of known stamps, whose name in that language was never "
            "heard. Videos: a picture of test that moves, and a recording that names it. "
            f"Intervals: 95 %, bootstrap over queries, 1,000 resamples. {told}"
        )
    if about := benchmarks.protocol(meta["seconds"], meta["limit"]):
        return f"{about} Intervals: 95 %, bootstrap over items, 1,000 resamples. {told}"
    if "answer" in meta["seconds"]:
        return (
            f"At most {meta['limit']} questions of val. exact: what the model writes is the "
            "commonest of the answers that people gave; chosen: of the commonest answers of "
            "training, the likeliest. VQA: min(n / 3, 1) of n people who say the same, averaged "
            "over the subsets without one of the ten. blind: asked without picture and recording; "
            "shuffled: with those of another question; chance: always the commonest answer. "
            f"Intervals: 95 %, bootstrap over questions, 1,000 resamples. {told}"
        )
    sizes = " and ".join(f"{size:,} ({split})" for split, size in meta["galleries"].items())
    return (
        f"Retrieval: every concept of the split is in the gallery, {sizes} items; queries are the "
        "concepts of the training split, the others are reported apart. R@k is hit rate; ties "
        "count against the query; median is the median rank of the right item. exact and CER "
        "(character error rate) compare lower-case text. judged: accuracy of a classifier "
        f"trained on real training items only, on at most {meta['limit']} items (a quarter of them "
        "for direct); real: the same on the real items of the same queries; share: one over the "
        "other. Pictures from speech and speech from pictures go by way of a text that the model "
        "writes; direct: without. Noisy speech: white "
        f"noise at {meta['snr']:g} dB. Intervals: 95 %, bootstrap over queries, 1,000 resamples. "
        f"{told}"
    )


def terminal(table: Table) -> rich.table.Table:
    """A table for the terminal; controls are dim."""
    shown = rich.table.Table(
        title=table.title,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    shown.add_column("direction", no_wrap=True)
    for column in table.columns:
        shown.add_column("\n".join(head(*column)), justify="right", no_wrap=True)
    for row in table.rows:
        cells = [
            figure(score.value, metric) if score else ""
            for score, (_, metric) in zip(row.scores, table.columns, strict=True)
        ]
        shown.add_row(row.label, *cells, style=None if row.kind == "model" else "dim")
    return shown
