"""OPT's card: our figures in the layout of OPT's tables, and what OPT published beside them.

Liu et al., "OPT: Omni-Perception Pre-Trainer for Cross-Modal Understanding and Generation",
arXiv:2107.00249: 100,000 steps on 641,716 triples of Open Images with their localized narratives,
written and spoken, and pairs besides; measured on 5,000 triples held out (OpenImages-5K). Its
audio is the caption read aloud, as ours is the name. Data and galleries are others than ours, so
that no figure of one side says anything about one of the other. The figures are those that lists
of benchmarks quote; the paper's own tables were not at hand, nor any figure of its captions,
answers and pictures.
"""

from collections.abc import Mapping

from eval.metrics import Score, exactly

HELD_OUT = 5_000
"""triples of OpenImages-5K: queries, and items to choose from"""
THEIRS = "OPT"
OURS = "test"
DEPTHS = ("R@1", "R@5", "R@10")
RETRIEVAL = {
    "image->text": (0.3940, 0.7194, 0.8256),
    "text->image": (0.4196, 0.720, 0.8126),
    "text->audio": (0.780, 0.927, 0.958),
    "audio->text": (0.803,),
    "audio+text->image": (0.5706,),
    "image->audio": (),
    "audio->image": (),
}
"""R@1, R@5 and R@10, as far as they are known"""
WER = 0.3024
"""word error rate; whether the picture was seen beside the recording is not told"""
PUBLISHED = {
    f"{THEIRS}/retrieval/{direction}/{metric}": exactly(value, HELD_OUT, HELD_OUT, 0)
    for direction, values in RETRIEVAL.items()
    for metric, value in zip(DEPTHS, values, strict=False)
} | {f"{THEIRS}/transcribe/audio->text/WER": exactly(WER, HELD_OUT, None, 0)}
MADE = ("caption/image->text", "transcribe/audio->text", "draw/text->image", "draw/audio->image")
SHOWN = {f"{OURS}/{name}" for name in (*MADE, *(f"retrieval/{d}" for d in RETRIEVAL))}
NOTE = (
    f"OPT: OpenImages-5K, {HELD_OUT:,} to choose from, as lists quote arXiv:2107.00249; ours is of "
    "other data and another gallery: not to be compared"
)
TABLES = [
    (
        f"OPT's card, retrieval. {NOTE}",
        ("retrieval",),
        [(split, metric) for split in (OURS, THEIRS) for metric in DEPTHS],
    ),
    (
        f"OPT's card, captions, speech recognition, drawing. {NOTE}",
        ("caption", "transcribe", "draw"),
        [*((OURS, metric) for metric in ("exact", "CER", "judged")), (THEIRS, "WER")],
    ),
]
"""title, tasks and columns of each"""


def card(results: Mapping[str, Score]) -> dict[str, Score]:
    """Our figures of what OPT tells of and those that it published, where these are among them."""
    if not results.keys() & PUBLISHED.keys():
        return {}
    shown = SHOWN | {name.rpartition("/")[0] for name in PUBLISHED}
    return {name: score for name, score in results.items() if name.rpartition("/")[0] in shown}
