"""One step: from the batches of this process to the gradients of the whole model.

With one micro-batch each is encoded once. With several, a first pass without gradients makes the
vectors of all for the contrast, and a second feeds their gradients back (see `contrast`).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from omni.batch import Batch
from omni.training.contrast import Contrast, Kept
from omni.training.losses import Losses
from omni.training.parallel import Parallel
from omni.training.selection import Selection, Source

Vectors = dict[Source, Tensor]


class Statistics:
    """The running statistics of the picture encoder's batch norms, which see a micro-batch each.

    All micro-batches begin with those of the step before; `accept` leaves the mean of what they
    made of them. So they do not depend on who computes what, and a step that is given up changes
    nothing.
    """

    def __init__(self, module: nn.Module, parallel: Parallel) -> None:
        self.parallel = parallel
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
        buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self.buffers = [b for b in buffers if b.is_floating_point()]
        self.counts = [b for b in buffers if not b.is_floating_point()]  # of steps
        self.before = [b.clone() for b in (*self.buffers, *self.counts)]
        self.parts: list[Tensor] = []

    def begin(self) -> None:
        """Before a micro-batch, and at the end."""
        for buffer, before in zip((*self.buffers, *self.counts), self.before, strict=True):
            buffer.copy_(before)

    def end(self, has_pictures: bool) -> None:
        """After a micro-batch that counts; from the blank in the place of pictures none learn."""
        if self.buffers:
            buffers = self.buffers if has_pictures else self.before[: len(self.buffers)]
            self.parts.append(torch.cat([b.flatten() for b in buffers]))

    def mean(self, count: int) -> None:
        """The mean over the `count` micro-batches of all processes, to be kept by `accept`."""
        self.begin()
        if self.buffers:
            total = self.parallel.sum(self.parts) / count
            self.after = total.split([b.numel() for b in self.buffers])

    def accept(self) -> None:
        """The step counts."""
        if self.buffers:
            for buffer, after in zip(self.buffers, self.after, strict=True):
                buffer.copy_(after.view_as(buffer))
            for count in self.counts:
                count += 1


class Step:
    """The forward and backward passes of one step.

    Args:
        batches: the micro-batches of this process; their tables are still on the CPU.
        past: vectors that the contrast remembers.
        autocast: what the forward passes run in.
    """

    def __init__(
        self,
        module: Losses,
        batches: Sequence[Batch],
        parallel: Parallel,
        past: Kept,
        autocast: AbstractContextManager[Any],
        seed: int,
        progress: float,
    ) -> None:
        self.module, self.parallel, self.autocast = module, parallel, autocast
        table, edges = parallel.gather_tables([batch.table() for batch in batches])
        begin = parallel.rank * len(batches)
        self.spans = [*zip(edges[begin:], edges[begin + 1 :], strict=False)][: len(batches)]
        self.edges = edges[:: len(batches)]  # of the processes
        self.batches = [batch.to(parallel.device) for batch in batches]
        # Drawn anew from the step, never a running state: a resumed run is the same run.
        generator = torch.Generator().manual_seed(seed)
        self.selection = Selection(table, module.weights, generator, progress)
        self.past = past
        self.statistics = Statistics(module, parallel)

    def backward(self) -> dict[str, Tensor]:
        """Leaves the gradients of the whole step in the parameters; returns its losses by name."""
        alone = len(self.batches) == 1
        made = [self._forward(i, alone, not alone) for i in range(len(self.spans))]
        self.contrast = self._contrast([vectors for vectors, _, _ in made], made[0][1])
        losses, gradients = self._compare()
        for i, own in enumerate(losses):
            vectors, scale, others = made[i] if alone else self._forward(i, True, False)
            with self.autocast:
                loss = self.module.weights.total(others)
            self._feed_back(i, loss, vectors, scale, gradients)
            own |= others
            self.parallel.after_backward(self.module.parameters())
        self.parallel.reduce(self.module.parameters())
        self.statistics.mean(len(self.spans) * self.parallel.world)
        names = sorted(losses[0])
        if not names:  # a step of samples that have nothing to compare or to make
            return {}
        parts = [torch.stack([own[name].detach() for name in names]) for own in losses]
        return dict(zip(names, self.parallel.sum(parts), strict=True))

    def remember(self) -> Kept:
        """What the contrast of the next step may know of this one."""
        return self.contrast.remember()

    @property
    def scale(self) -> float:
        """Inverse temperature of the contrast."""
        return float(self.contrast.scale.detach())

    def suspects(self) -> list[int]:
        """Keys of the samples whose vectors are not finite; of all where all are."""
        table, found = self.selection.table, set()
        for source, vectors in self.contrast.vectors.items():
            broken = ~vectors.detach().isfinite().all(1).cpu()
            found |= {*table.key[self.selection.rows[source][broken]].tolist()}
        return sorted(found) or table.key.tolist()

    def _forward(
        self, i: int, grad: bool, vectors_only: bool
    ) -> tuple[Vectors, Tensor, dict[str, Tensor]]:
        self.statistics.begin()
        with torch.set_grad_enabled(grad), self.autocast:
            made = self.module(self.batches[i], self.selection, self.spans[i][0], vectors_only)
        if grad:
            self.statistics.end("image" in self.batches[i].parts)
        return made

    def _contrast(self, made: list[Vectors], scale: Tensor) -> Contrast:
        """The vectors of all processes together."""
        vectors = {}
        for source, rows in self.selection.rows.items():
            mine = torch.cat([part[source] for part in made]).detach()
            sizes = torch.searchsorted(rows, torch.tensor(self.edges)).diff().tolist()
            vectors[source] = self.parallel.gather(mine, sizes)
        return Contrast(vectors, scale, self.selection, self.module.weights, self.past)

    def _compare(self) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
        """The losses of the contrast by micro-batch; the gradients of all vectors and the scale."""
        leaves, losses, parts = self.contrast.leaves(), [], []
        for span in self.spans:
            with self.autocast:
                own = self.contrast.losses(*span)
                loss = self.module.weights.total(own)
            losses.append(own)
            zero = [torch.zeros_like(leaf) for leaf in leaves]
            found = torch.autograd.grad(loss, leaves, allow_unused=True) if own else zero
            filled = [z if g is None else g for g, z in zip(found, zero, strict=True)]
            parts.append(torch.cat([g.flatten() for g in filled]))
        total = self.parallel.sum(parts).split([leaf.numel() for leaf in leaves])
        return losses, [g.view_as(leaf) for g, leaf in zip(total, leaves, strict=True)]

    def _feed_back(
        self, i: int, loss: Tensor, vectors: Vectors, scale: Tensor, gradients: list[Tensor]
    ) -> None:
        """The backward pass of one micro-batch."""
        first, stop = self.spans[i]
        roots, fed = [], []
        for (source, vector), gradient in zip(vectors.items(), gradients[:-1], strict=True):
            start, end = self.selection.span(source, first, stop)
            roots.append(vector)
            fed.append(gradient[start:end])
        if isinstance(loss, Tensor):
            roots.append(loss)
            fed.append(torch.ones_like(loss))
        roots.append(scale)
        fed.append(gradients[-1] * (first == 0))  # it is one for all: fed back once
        torch.autograd.backward(roots, fed)
