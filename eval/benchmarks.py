"""What is to be said of figures that are measured on any folder of classes or packed shards."""

from collections.abc import Iterable

SENTENCES = {
    "search": (
        "Search: a caption finds the pictures or recordings that have it, these find any caption "
        "of theirs; texts that are the same are asked once and are one item; of two senses at once "
        "the first text counts. R@k is hit rate, mean_recall the mean of the three, median the "
        "median rank of the best right answer; ties count against the query."
    ),
    "search1k": (
        "Search in five galleries: the first 5,000 things in their order, 1,000 a gallery, as in "
        "COCO's 1k test."
    ),
    "describe": (
        "Descriptions: against all texts of the same picture or recording; shuffled: against "
        "those of another one. See eval/captioning.py."
    ),
    "recognise": (
        "Recognition: edits over length of all transcripts, both sides after Whisper's normaliser."
    ),
    "classify": (
        "Classification: accuracy over the files of a split. zero_shot@k: the class is among the "
        "k whose names are nearest, a class being the mean of its prompts' unit vectors; ties "
        "count as misses. probe: logistic regression on the vectors of train, its strength "
        "chosen on val or on a fifth of train, or on those of all other folds; shuffled: the same "
        "from labels that are dealt out anew."
    ),
}


def protocol(tasks: Iterable[str], limit: int) -> str:
    """How the figures of some tasks were measured; nothing for tasks of other data."""
    some = {*tasks}
    told = [sentence for task, sentence in SENTENCES.items() if task in some]
    if some & {"describe", "recognise"}:
        told.append(f"At most {limit:,} items are written down.")
    return " ".join(told)
