"""What each objective takes of a step: drawn once for all processes, from the keys of samples.

Nothing here depends on how the samples are dealt out to processes and micro-batches, so that the
losses do not either.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from omni.batch import SENSES, Table
from omni.config import LossConfig
from omni.nn.draws import Draws

Source = tuple[str, ...]
"""a set of senses that is encoded together"""
JOINT = (("audio", "image", "text"), ("audio", "text", "image"), ("image", "text", "audio"))
"""two senses together, and the third"""
PAIRED, DRAWN, SPOKEN = 10, 11, 12
"""purposes of draws"""
SHARES = {"image": 0.4, "audio": 0.5}
"""of a step's pictures and recordings, what their decoders learn to make"""
FROM_TEXT = 0.9
"""share of what is drawn or spoken that is made from text; the rest from the other senses"""


class Selection:
    """The samples of every set of senses and of every decoder, as rows of `table`.

    `generator` draws what is alike for the whole step; `progress` is the share of the run done.
    """

    def __init__(
        self, table: Table, weights: LossConfig, generator: torch.Generator, progress: float
    ) -> None:
        self.table = table
        self.senses = [sense for sense in SENSES if table.has(sense).any()]
        # Ever more steps with pictures as they are: that is what the model will meet.
        self.clean = bool(torch.rand((), generator=generator) < progress)
        # Speech with a picture is what people have at hand: half of the steps.
        self.joint = JOINT[max(int(torch.randint(4, (), generator=generator)) - 1, 0)]
        self.rows: dict[Source, Int[Tensor, "N"]] = {
            (sense,): _rows(table.has(sense)) for sense in self.senses
        }
        both = self._shuffled(table.has(*self.joint[:2]), PAIRED)
        if len(both):
            self.rows[self.joint[:2]] = both[: -(-len(both) // 4)].sort().values  # costs the most
        self.flows: dict[str, dict[Source, Int[Tensor, "K"]]] = {}
        for sense, share in SHARES.items():
            if sense in self.senses and getattr(weights, f"{sense}_flow"):
                self.flows[sense] = self._deal_out(sense, share)

    def common(self, source: Source, target: Source) -> Int[Tensor, "K"]:
        """Rows of `source` that `target` has too."""
        rows = self.rows[source]
        return rows[torch.isin(rows, self.rows[target])]

    def span(self, source: Source, first: int, stop: int) -> tuple[int, int]:
        """Which of the rows of `source` lie in rows `first` to `stop - 1` of the table."""
        edges = torch.tensor([first, stop])
        start, end = torch.searchsorted(self.rows[source], edges).tolist()
        return start, end

    def _shuffled(self, those: Bool[Tensor, "G"], purpose: int) -> Int[Tensor, "K"]:
        """Rows in random order, fixed by the keys."""
        rows = _rows(those)
        return rows[Draws(self.table.key[rows], purpose).uniform(0, 1).argsort(stable=True)]

    def _deal_out(self, sense: str, share: float) -> dict[Source, Int[Tensor, "K"]]:
        """The items that are made from each source: most from text, no item twice."""
        sources = [s for s in self.rows if sense not in s and s != ("text",)]
        parts = {source: (1 - FROM_TEXT) / len(sources) for source in sources}
        if ("text",) in self.rows:
            parts[("text",)] = FROM_TEXT
        free = self._shuffled(self.table.has(sense), DRAWN if sense == "image" else SPOKEN)
        count, dealt = share * len(free) / (sum(parts.values()) or 1), {}
        for source, part in parts.items():
            fit = free[torch.isin(free, self.rows[source])][: round(count * part)]
            dealt[source] = fit.sort().values
            free = free[~torch.isin(free, fit)]
        return dealt


def _rows(those: Bool[Tensor, "G"]) -> Int[Tensor, "N"]:
    return those.nonzero()[:, 0]
