"""What can be learned of a data set: which objectives have samples with what they need."""

from collections.abc import Callable, Iterable

from omni.batch import SENSES
from omni.config import LossConfig
from omni.pipeline.formats import senses_of

SEVERAL = "two modalities in one sample"


def missing(
    loss: LossConfig, masks: Iterable[int], has_answers: Callable[[], bool]
) -> tuple[list[str], dict[str, str]]:
    """Of the objectives that have a weight, those that can be learned, and what the others lack.

    Pairs are compared over samples too (those of one concept), so each of their modalities must be
    somewhere; what is made, and what is judged together, is of one sample.

    Args:
        masks: the sets of modalities that samples have.
        has_answers: whether there are questions with answers, which can be learned of any samples.
    """
    samples = [{*senses_of(mask)} for mask in masks]
    present = {modality for sample in samples for modality in sample}
    several = any(len(sample) > 1 for sample in samples)

    def beside(modality: str) -> bool:
        return any(modality in sample and len(sample) > 1 for sample in samples)

    needs: dict[str, tuple[bool, str]] = {}
    for pair in loss.pairs if loss.contrastive else ():
        lacking = sorted({*pair.split("+")} - present)
        needs[f"loss.contrastive of {pair}"] = not lacking, f"any {' or '.join(lacking)}"
    if loss.joint:
        needs["loss.joint"] = several and len(present) == len(SENSES), SEVERAL + ", and the third"
    for name in ("matching", "masked"):
        if getattr(loss, name):
            needs[f"loss.{name}"] = several, SEVERAL
    if loss.next_token:
        fits = beside("text") or has_answers()
        needs["loss.next_token"] = fits, "text beside image or audio, or answers to questions"
    for modality in ("image", "audio"):
        if getattr(loss, f"{modality}_flow"):
            words = f"{modality} beside another modality"
            needs[f"loss.{modality}_flow"] = beside(modality), words
    learned = [name for name, (fits, _) in needs.items() if fits]
    lacking = {name: words for name, (fits, words) in needs.items() if not fits}
    if loss.within and not learned:  # it compares what others make, from the middle of a run on
        lacking["loss.within"] = "another objective beside it"
    return learned, lacking


def check(
    loss: LossConfig, masks: Iterable[int], has_answers: Callable[[], bool], where: str
) -> tuple[list[str], str]:
    """Return what is learned, and a line on what is not, or nothing.

    Raises `ValueError` where nothing is learned.
    """
    masks = {*masks}
    learned, lacking = missing(loss, masks, has_answers)
    found = ", ".join(sorted("+".join(senses_of(mask)) for mask in masks))
    names: dict[str, list[str]] = {}
    for name, words in lacking.items():
        names.setdefault(words, []).append(name)
    listed = "; ".join(f"{', '.join(these)} needs {words}" for words, these in names.items())
    if not learned:
        raise ValueError(f"nothing can be learned of {where}, whose samples have {found}: {listed}")
    told = [f"not learned of {where}, whose samples have {found}: {listed}"] if listed else []
    for name in learned:
        pair = {*name.removeprefix("loss.contrastive of ").split("+")}
        if len(pair) == 2 and not any(pair <= {*senses_of(mask)} for mask in masks):
            told.append(f"{name}: no sample has both, so only samples of one concept are compared")
    return learned, "\n".join(told)
