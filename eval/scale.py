"""Seconds and memory that retrieval takes at the size of COCO: `python -m eval.scale`.

Random vectors: 5,000 pictures and five captions each, both directions, every figure of
`eval.ranking` with its interval. A caption is its picture with noise, so that there is something
to find.
"""

import argparse
import resource
import time
from collections.abc import Sequence

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor
from torch.nn.functional import normalize

from eval.metrics import Score
from eval.ranking import figures
from eval.table import figure, interval

NOISE = 6.0
"""a caption is its picture and so many times as much noise"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures of each direction with their seconds, then the peak of memory."""
    parse = argparse.ArgumentParser(prog="python -m eval.scale", description=__doc__)
    parse.add_argument("--images", type=int, default=5000)
    parse.add_argument("--captions", type=int, default=5, help="of each image")
    parse.add_argument("--width", type=int, default=512, help="of the vectors")
    parse.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parse.add_argument("--seed", type=int, default=0)
    given = parse.parse_args(arguments)
    if min(sizes := (given.images, given.captions, given.width)) < 1:
        parse.error(f"--images, --captions and --width must be at least 1, got {sizes}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parse.error("--device cuda: torch finds none")
    console, whole = Console(), 0.0
    torch.set_num_threads(min(2, torch.get_num_threads()))
    images, captions = draw(given.images, given.captions, given.width, given.seed)
    images, captions = images.to(given.device), captions.to(given.device)
    owners = [[i] for i in range(given.images) for _ in range(given.captions)]
    owned = torch.arange(len(captions)).reshape(given.images, given.captions).tolist()
    directions = {
        "image->text": (images, captions, owned),
        "text->image": (captions, images, owners),
    }
    for direction, (queries, gallery, relevant) in directions.items():
        with console.status(f"{direction}: {len(queries):,} queries of {len(gallery):,} items"):
            start = time.perf_counter()
            found = dict(figures(queries, gallery, relevant, given.seed))
            seconds = time.perf_counter() - start
        whole += seconds
        console.print(f"{direction} {seconds:.1f} s: {told(found)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(
        f"{whole:.1f} s, {peak:.2f} GiB at most, {images.device}, {torch.get_num_threads()} threads"
    )


def draw(
    num_images: int, num_captions: int, width: int, seed: int
) -> tuple[Float[Tensor, "I D"], Float[Tensor, "I*C D"]]:
    """Unit vectors of images and of their captions, image by image."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, width, generator=generator)
    captions = images.repeat_interleave(num_captions, 0)
    captions += NOISE * torch.randn(captions.shape, generator=generator)
    return normalize(images, dim=1), normalize(captions, dim=1)


def told(found: dict[str, Score]) -> str:
    """The figures and their intervals in one line."""
    parts = []
    for name, score in found.items():
        small = interval(score, name)
        parts.append(f"{name} {figure(score.value, name)}" + (f" ({small})" if small else ""))
    return ", ".join(parts)


if __name__ == "__main__":
    main()
