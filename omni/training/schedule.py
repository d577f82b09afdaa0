"""The learning rate as a function of the step, and what happens every so many steps."""

import math


def is_due(step: int, every: int) -> bool:
    """Whether something happens after a step that happens every so many; 0 for never."""
    return every > 0 and step % every == 0


def learning_rate(step: int, peak: float, warmup: int, steps: int) -> float:
    """Linear warm-up to `peak`, then a cosine to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
