"""What each objective takes of a step: drawn once for all processes, from the keys of samples.

Nothing here depends on how the samples are dealt out to processes and micro-batches, so that the
losses do not either.
"""

from itertools import combinations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from omni.batch import SENSES, WRITTEN, Table
from omni.config import LossConfig
from omni.nn.draws import Draws, Purpose
from omni.objective.dropping import draw_kept

Source = tuple[str, ...]
"""a set of senses that is encoded together"""
Rows = dict[Source, Int[Tensor, "K"]]
"""rows of a step's table, by what is encoded of them"""
JOINT = (("audio", "image", "text"), ("audio", "text", "image"), ("image", "text", "audio"))
"""two senses together, and the third"""
TOGETHER = ("joint", "next_token", "image_flow", "audio_flow")
"""objectives that look at two senses together"""
MATCHED, MASKED = 0.5, 0.25
"""of a step's samples with several senses, those that each of the two objectives sees"""
LEFT = [tuple(sorted(left)) for size in (1, 2) for left in combinations(SENSES, size)]
"""what may be left of the senses of a sample when some are dropped"""
FLOW_SAMPLES = {"image": Purpose.IMAGE_FLOW_SAMPLES, "audio": Purpose.AUDIO_FLOW_SAMPLES}
SHARES = {"image": (0.4, 1.0), "audio": (0.5, 0.5)}
"""of a step's pictures and recordings, what their decoders learn to make: at the start of the run
and at its end, where what they are made from hardly moves any more"""
FROM_TEXT = 0.9
"""share of what is drawn or spoken that is made from text; the rest from the other senses"""


class Selection:
    """The samples of every set of senses and of every decoder, as rows of `table`.

    `generator` draws what is alike for the whole step; `progress` is the share of the run done.
    """

    def __init__(
        self, table: Table, weights: LossConfig, generator: torch.Generator, progress: float
    ) -> None:
        self.table, self.word_dropout = table, weights.word_dropout
        self.senses = [sense for sense in SENSES if table.has(sense).any()]
        # Ever more steps with pictures as they are: that is what the model will meet.
        self.clean = bool(torch.rand((), generator=generator) < progress)
        # Speech with a picture is what people have at hand: half of the steps.
        self.joint = JOINT[max(int(torch.randint(4, (), generator=generator)) - 1, 0)]
        self.rows: Rows = {(sense,): _rows(table.has(sense)) for sense in self.senses}
        self.asked = _rows(table.written[:, WRITTEN.index("answer")] > 0)
        both = self._shuffled(table.has(*self.joint[:2]), Purpose.JOINT_SAMPLES)
        if len(both) and any(getattr(weights, name) for name in TOGETHER):
            self.rows[self.joint[:2]] = both[: -(-len(both) // 4)].sort().values  # costs the most
        has_several = (table.lengths > 0).sum(1) > 1
        several = self._shuffled(has_several, Purpose.SEVERAL_MODALITIES)
        edges = [round(share * len(several)) for share in (MATCHED, MATCHED + MASKED)]
        self.matched = several[: edges[0]].sort().values
        self.masked = several[edges[0] : edges[1]].sort().values

        draws = Draws(table.key, Purpose.DROPPING_SAMPLES)
        dropping = draws.uniform(0, 1) < weights.dropping
        left = self._drop(dropping)
        for source, rows in left.items():
            self.rows[source] = torch.cat([self.rows.get(source, rows), rows]).unique()
        self.flows = {
            sense: self._deal_out(sense, first + (last - first) * progress, dropping, left)
            for sense, (first, last) in SHARES.items()
            if sense in self.senses and getattr(weights, f"{sense}_flow")
        }

    def common(self, source: Source, target: Source) -> Int[Tensor, "K"]:
        """Rows of `source` that `target` has too."""
        rows = self.rows[source]
        return rows[torch.isin(rows, self.rows[target])]

    def span(self, source: Source, first: int, stop: int) -> tuple[int, int]:
        """Which of the rows of `source` lie in rows `first` to `stop - 1` of the table."""
        edges = torch.tensor([first, stop])
        start, end = torch.searchsorted(self.rows[source], edges).tolist()
        return start, end

    def _shuffled(self, those: Bool[Tensor, "G"], purpose: Purpose) -> Int[Tensor, "K"]:
        """Rows in random order, fixed by the keys."""
        rows = _rows(those)
        return rows[Draws(self.table.key[rows], purpose).uniform(0, 1).argsort(stable=True)]

    def _drop(self, those: Bool[Tensor, "G"]) -> Rows:
        """The samples that lose some of their senses, by what is left."""
        present = self.table.lengths > 0
        kept = draw_kept(self.table.key, present)
        those = those & (kept != present).any(1)
        patterns = {s: torch.tensor([sense in s for sense in SENSES]) for s in LEFT}
        found = {s: _rows(those & (kept == pattern).all(1)) for s, pattern in patterns.items()}
        return {source: rows for source, rows in found.items() if len(rows)}

    def _deal_out(self, sense: str, share: float, dropping: Bool[Tensor, "G"], left: Rows) -> Rows:
        """A `share` of the items, by what each is made from; no item twice.

        Of samples that are `dropping` senses it is made from all that is `left` of them, where it
        is what was dropped; of the others most are made from text.
        """
        has = self.table.has(sense)
        free = self._shuffled(has & ~dropping, FLOW_SAMPLES[sense])
        sources = [s for s in self.rows if sense not in s and s != ("text",)]
        parts = {source: (1 - FROM_TEXT) / len(sources) for source in sources}
        if ("text",) in self.rows:
            parts[("text",)] = FROM_TEXT
        count, dealt = share * len(free) / (sum(parts.values()) or 1), {}
        for source, part in parts.items():
            fit = free[torch.isin(free, self.rows[source])][: round(count * part)]
            dealt[source] = fit.sort().values
            free = free[~torch.isin(free, fit)]
        for source, rows in left.items():
            if sense not in source and len(lost := rows[has[rows]]):
                dealt[source] = torch.cat([dealt.get(source, lost), lost]).unique()
        return dealt


def _rows(those: Bool[Tensor, "G"]) -> Int[Tensor, "N"]:
    return those.nonzero()[:, 0]
