"""Tensors of which every process holds a slice (DTensor), or the whole: one way to treat both."""

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.placement_types import _StridedShard

SLICED = Shard, _StridedShard


def whole(x: Tensor, like: Tensor) -> Tensor:
    """A tensor of which this process has the slice `x`, complete, in every process."""
    if not isinstance(like, DTensor):
        return x
    mesh, placements = like.device_mesh, like.placements
    placed = DTensor.from_local(x, mesh, placements, shape=like.shape, stride=like.stride())
    return placed.full_tensor()


def local(x: Tensor) -> Tensor:
    """The slice of a tensor that this process holds."""
    return x.to_local() if isinstance(x, DTensor) else x


def mesh_of(x: Tensor) -> DeviceMesh | None:
    """The processes over which a tensor lies; None for one that each has for itself."""
    return x.device_mesh if isinstance(x, DTensor) else None


def slice_of(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a whole tensor, and where this process' slice of it begins."""
    offset = [0] * x.ndim
    if isinstance(x, DTensor):
        shape, mesh = [*x.shape], x.device_mesh
        # The last first: FSDP cuts what tensor parallelism has left.
        for dim, placement in reversed([*enumerate(x.placements)]):
            if isinstance(placement, SLICED):
                size = -(-shape[placement.dim] // mesh.size(dim))
                start = min(size * mesh.get_local_rank(dim), shape[placement.dim])
                offset[placement.dim] += start
                shape[placement.dim] = max(0, min(size, shape[placement.dim] - start))
    return tuple(x.shape), tuple(offset)


def split_like(x: Tensor, like: Tensor) -> Tensor:
    """This process' slice of a whole tensor, as `like` is split."""
    shape, offset = local(like).shape, slice_of(like)[1]
    for dim, (start, size) in enumerate(zip(offset, shape, strict=True)):
        x = x.narrow(dim, start, size)
    return x
