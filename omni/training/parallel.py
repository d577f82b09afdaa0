"""Many processes as one: the mesh, what is exchanged, and the order in which a model is spread.

Three dimensions, in this order: `replicate` (each holds a copy of what follows and takes its share
of the samples), `shard` (FSDP2: parameters, gradients and moments in slices; its share of the
samples too) and `tensor` (each matrix of a block split by heads; the same samples). Any product
runs under `torchrun`; one process is a mesh of one, without a process group.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.fsdp import register_fsdp_forward_method as register_forward
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils.checkpoint import checkpoint

from omni.batch import Table
from omni.config import TrainConfig
from omni.nn.flow import FlowBlock
from omni.nn.transformer import Block
from omni.training.losses import Losses
from omni.training.peers import Peers, place
from omni.training.pieces import Piece
from omni.training.slices import SLICED, local, slice_of

DIMS = ("replicate", "shard", "tensor")
BUCKET = 1 << 25
"""values of gradients that are added up at a time"""
HEADS = 2
"""dimension of the heads where queries and keys are normed"""
PLAN: dict[str, ParallelStyle] = {
    "attention.qkv": ColwiseParallel(),
    "attention.q_norm": SequenceParallel(sequence_dim=HEADS, use_local_output=True),
    "attention.k_norm": SequenceParallel(sequence_dim=HEADS, use_local_output=True),
    "attention.out": RowwiseParallel(),
    "cross.q": ColwiseParallel(),
    "cross.kv": ColwiseParallel(),
    "cross.q_norm": SequenceParallel(sequence_dim=HEADS, use_local_output=True),
    "cross.k_norm": SequenceParallel(sequence_dim=HEADS, use_local_output=True),
    "cross.out": RowwiseParallel(),
    "mlp.up": ColwiseParallel(),
    "mlp.down": RowwiseParallel(),
}
"""how the matrices of one block are split over `tensor`; rows of q, k and v lie head by head"""


class Parallel:
    """This process among all.

    Raises `ValueError` where the mesh does not fit the number of processes.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.timeout = float(os.environ.get("OMNI_TIMEOUT", "600"))
        """seconds without an answer after which another process counts as lost"""
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        replicate, shard, tensor = config.mesh
        replicate = replicate or max(1, self.processes // (shard * tensor))
        self.sizes = replicate, shard, tensor
        if replicate * shard * tensor != self.processes:
            raise ValueError(
                f"train.mesh must multiply to the number of processes, {self.processes}, "
                f"got {' x '.join(map(str, self.sizes))}"
            )
        if config.deterministic and shard * tensor > 1:
            raise ValueError("train.deterministic needs whole parameters: a mesh of N 1 1")
        if config.offload and shard == 1:
            raise ValueError("train.offload needs parameters in slices: a mesh of N 2 1 or more")
        self.mesh: DeviceMesh | None = None
        self.rank, self.world = 0, replicate * shard
        self.kept: list[Tensor] = []
        self.peers: Peers | None = None
        if self.processes > 1:
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            timeout = timedelta(seconds=self.timeout)
            store, rank, processes = next(dist.rendezvous("env://", timeout=timeout))
            # torchrun keeps its store over a restart: addresses of the dead lie in it.
            store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=processes, timeout=timeout
            )
            self.mesh = init_device_mesh(device.type, self.sizes, mesh_dim_names=DIMS)
            self.data = self.mesh["replicate", "shard"]._flatten("data").get_group()
            for group in (self.data, *self.mesh.get_all_groups()):
                _set_pg_timeout(timeout, group)  # a mesh gives those that it makes half an hour
            self.rank = self.mesh["replicate"].get_local_rank() * shard
            self.rank += self.mesh["shard"].get_local_rank()
            places: list[Any] = [None] * self.processes
            dist.all_gather_object(places, place())
            self.peers = Peers(rank, places, dist.PrefixStore("peers", store))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.mesh is None or dist.get_rank() == 0

    @property
    def number(self) -> int:
        """Of this process among all."""
        return 0 if self.mesh is None else dist.get_rank()

    def spread(self, module: Losses) -> Losses:
        """The model over the mesh: split, recomputed, compiled, sharded, in this order."""
        blocks = [m for m in module.modules() if isinstance(m, Block | FlowBlock)]
        if self.mesh is not None and self.sizes[2] > 1:
            for block in blocks:
                names = {name for name, _ in block.named_modules()}
                plan = {name: style for name, style in PLAN.items() if name in names}
                parallelize_module(block, self.mesh["tensor"], plan)
        if self.config.recompute:
            for block in blocks:
                again = partial(checkpoint, block.forward, use_reentrant=False)
                block.forward = again  # pyright: ignore[reportAttributeAccessIssue]
        if self.config.compile:
            for block in blocks:
                block.compile()
        if self.mesh is not None and self.sizes[1] > 1:
            self._shard(module, blocks)
        return module

    def _shard(self, module: Losses, blocks: Sequence[nn.Module]) -> None:
        assert self.mesh is not None
        mesh = self.mesh["replicate", "shard"] if self.sizes[0] > 1 else self.mesh["shard"]
        on_gpu = self.device.type == "cuda"
        policy = CPUOffloadPolicy(on_gpu) if self.config.offload else OffloadPolicy()
        for block in blocks:
            fully_shard(block, mesh=mesh, offload_policy=policy)
            if isinstance(block, Block) and block.cross is not None:
                register_forward(block, "keys")
        fully_shard(module, mesh=mesh, offload_policy=policy)

    def gather(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """The rows of all processes, in their order; `sizes` says how many each has."""
        if self.mesh is None or self.world == 1:
            return x
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = x
        all_rows = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(all_rows, padded, self.data)
        return torch.cat([rows[:size] for rows, size in zip(all_rows, sizes, strict=True)])

    def gather_tables(self, tables: Sequence[Table]) -> tuple[Table, list[int]]:
        """The samples of the whole step, and where each micro-batch of all processes begins."""
        columns = [torch.column_stack([t.key, t.group, t.written, t.lengths]) for t in tables]
        counts = torch.tensor([[len(column) for column in columns]])
        counts = self.gather(counts, [1] * self.world)
        rows = self.gather(torch.cat(columns), counts.sum(1).tolist())
        edges = [0, *counts.flatten().cumsum(0).tolist()]
        return Table(rows[:, 0], rows[:, 1], rows[:, 4:], rows[:, 2:4]), edges

    def sum(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum over the micro-batches of all processes, each of which hands in its own.

        In deterministic mode always in the same order, however they are dealt out.
        """
        if self.mesh is None or self.world == 1:
            return _in_order(parts)
        if self.config.deterministic:
            stacked = torch.stack([*parts])
            return _in_order(self.gather(stacked, [len(parts)] * self.world))
        total = _in_order(parts)
        dist.all_reduce(total, group=self.data)
        return total

    def after_backward(self, parameters: Iterable[Tensor]) -> None:
        """To be called after the backward pass of each micro-batch."""
        if not self.config.deterministic:
            return
        grads = [p for p in parameters if p.grad is not None]
        self.kept.append(torch.cat([p.grad.flatten() for p in grads if p.grad is not None]))
        for p in grads[: len(grads) * (len(self.kept) < self.config.accumulate)]:
            p.grad = None

    def reduce(self, parameters: Iterable[Tensor]) -> None:
        """Adds up the gradients of all processes, after the last micro-batch."""
        parameters = [p for p in parameters if p.grad is not None]
        for p in parameters:
            if isinstance(p.grad, DTensor) and isinstance(p, DTensor):  # heads add up to one
                p.grad = p.grad.redistribute(placements=p.placements)
        grads = [local(p.grad) for p in parameters if p.grad is not None]
        if self.config.deterministic:
            totals = self.sum(self.kept).split([g.numel() for g in grads])
            for grad, total in zip(grads, totals, strict=True):
                grad.copy_(total.view_as(grad))
            self.kept = []
        elif self.sizes[1] > 1:  # FSDP has taken their mean
            torch._foreach_mul_(grads, float(self.world))
        elif self.mesh is not None and self.sizes[0] > 1:
            for bucket in _buckets(grads):
                flat = torch.cat([grad.flatten() for grad in bucket])
                dist.all_reduce(flat, group=self.data)
                totals = flat.split([g.numel() for g in bucket])
                for grad, total in zip(bucket, totals, strict=True):
                    grad.copy_(total.view_as(grad))

    def norms(self, groups: Mapping[str, Sequence[Tensor]]) -> dict[str, float]:
        """The 2-norm of each group of tensors, alike in every process."""
        squares: dict[tuple[str, ...], Tensor] = {}
        total = torch.zeros(len(groups), device=self.device)
        for number, tensors in enumerate(groups.values()):
            for x in tensors:
                dims = tuple(sorted(self._split_over(x)))
                into = squares.setdefault(dims, torch.zeros_like(total))
                into[number] += torch.linalg.vector_norm(local(x), dtype=torch.float32).square()
        for dims, square in squares.items():
            for dim in dims:
                assert self.mesh is not None
                dist.all_reduce(square, group=self.mesh[dim].get_group())
            total += square
        if self.mesh is not None and self.sizes[2] > 1:
            # What all of them hold alike one may have spoilt: they must judge alike all the same.
            dist.all_reduce(total, group=self.mesh["tensor"].get_group())
            total /= self.sizes[2]
        return dict(zip(groups, total.sqrt().tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.mesh is None:
            return flag
        flags = torch.tensor([int(flag)])
        dist.all_reduce(flags)
        return bool(flags)

    def _split_over(self, x: Tensor) -> set[str]:
        """The dimensions of the mesh over which a tensor lies in slices."""
        if not isinstance(x, DTensor):
            return set()
        names = x.device_mesh.mesh_dim_names or ()
        pairs = zip(names, x.placements, strict=True)
        return {name for name, placement in pairs if isinstance(placement, SLICED)}

    def piece(self, x: Tensor, like: Tensor) -> Piece | None:
        """What this process writes of a tensor laid out as `like`; None if another writes it."""
        split = self._split_over(like)
        if self.mesh is not None:
            for dim in DIMS:
                if dim not in split and self.mesh[dim].get_local_rank():
                    return None
        shape, offset = slice_of(like)
        return Piece(local(x), shape, offset)

    def tell(self, path: Path | None) -> Path | None:
        """What the first process says, in all."""
        told = [path]
        if self.mesh is not None:
            dist.broadcast_object_list(told)
        return told[0]

    def barrier(self) -> None:
        """Waits for everybody."""
        if self.mesh is not None:
            dist.barrier()

    def abort(self) -> None:
        """After an error: does not come back where there are others (see `Peers.part`)."""
        if self.peers:
            self.peers.part()

    def close(self) -> None:
        """Leaves the group."""
        if self.mesh is not None:
            dist.destroy_process_group()


def _in_order(parts: Iterable[Tensor]) -> Tensor:
    total, *others = parts
    total = total.clone()
    for part in others:
        total += part
    return total


def _buckets(tensors: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    bucket, size = [], 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
