"""The samples of packed shards by class: what the json of each says it is."""

from collections import Counter
from collections.abc import Iterator

from eval.classes import Classes, read_names, read_templates
from eval.shards import FOLDS, Entry, Shards, UnfitError
from omni.items import Item

FIELDS = ("label", "category")
"""of the json, one of which holds the class: Speech Commands' and ESC-50's"""


class Labels(Classes):
    """Samples of one sense by class.

    The measured split is tested, and a probe learns from `train` and `val`; of folds each is
    tested in turn, and learned from the others. Beside the shards may lie `classes.json` and
    `templates.json`, as in a folder of classes.

    Raises:
        UnfitError: naming the path, for a sample without class, for samples that are not all
            recordings or all pictures, and for a class that a probe cannot learn.
    """

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        tested = [name for name in shards.folds if shards.split in (name, FOLDS)]
        self.trials = {name: [f for f in shards.folds if f != name] for name in tested}
        if not tested:
            others = [s for s in ("train", "val") if s in shards.splits and s != shards.split]
            self.trials = {shards.split: others if "train" in others else []}
        splits = dict.fromkeys(s for name, known in self.trials.items() for s in (name, *known))
        found = {s: [self._class(entry, s) for entry in shards.entries(s)] for s in splits}
        self.classes = sorted({name for names in found.values() for name in names})
        self._check(found)
        self.labels = {s: [self.classes.index(n) for n in names] for s, names in found.items()}
        self.sense = self._sense()
        self.names = read_names(shards.path / "classes.json", self.classes)
        self.templates = read_templates(shards.path / "templates.json")

    def items(self, split: str) -> Iterator[list[Item]]:
        """The recordings or pictures of a split in blocks."""
        return self.shards.items(range(len(self.labels[split])), self.sense, split)

    def _class(self, entry: Entry, split: str) -> str:
        for field in FIELDS:
            if isinstance(name := entry.meta.get(field), str):
                return name
        raise UnfitError(
            f"{self.shards.path} ({split}): sample {entry.key!r} must have {' or '.join(FIELDS)} "
            f"in its json to be classified; it has {', '.join(entry.meta) or 'none'}"
        )

    def _check(self, found: dict[str, list[str]]) -> None:
        """Whether there is something to tell apart, and to learn it from."""
        if len(self.classes) < 2:
            raise UnfitError(
                f"{self.shards.path} must hold two classes at least, got {self.classes}"
            )
        for tested, known in self.trials.items():
            learned = Counter(name for s in known if s != "val" for name in found[s])
            least = 1 if "val" in known else 2  # of which one chooses the strength
            for name in sorted({*found[tested], *learned}) if known else ():
                if learned[name] < least:
                    raise UnfitError(
                        f"{self.shards.path}: class {name!r} of {tested} must come at least "
                        f"{least} times in {', '.join(known)}, got {learned[name]}"
                    )

    def _sense(self) -> str:
        each = [entry.senses for split in self.labels for entry in self.shards.entries(split)]
        alike = {sense for sense in ("image", "audio") if all(sense in one for one in each)}
        some = {sense for sense in ("image", "audio") if any(sense in one for one in each)}
        if len(alike) != 1 or alike != some:
            raise UnfitError(
                f"samples of {self.shards.path} must be all pictures or all recordings to be "
                f"classified, got {' and '.join(sorted(some)) or 'neither'}"
            )
        return alike.pop()
