"""Does this process grow? Its resident memory, and a robust slope through it."""

import os
import resource
import sys
from pathlib import Path

import numpy as np

LIMIT = 1.0
"""MB in 1,000 steps"""
SPAN, FEWEST, MOST = 500, 16, 256
"""steps, and points, that a slope needs; points that are kept"""
MB = 1e6


def resident() -> float:
    """MB of memory that this process holds now; its peak where the system does not tell."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return peak()
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB


def peak() -> float:
    """MB of memory that this process has ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


class LeakGuard:
    """Looks for steady growth in the second half of all that it has seen: the first is warm-up."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.seen, self.stride, self.warned = 0, 1, False

    def add(self, step: int, megabytes: float) -> None:
        """One measurement. Of many, every second, fourth ... is kept: a guard must not leak."""
        if self.seen % self.stride == 0:
            self.points.append((step, megabytes))
        self.seen += 1
        if len(self.points) == MOST:
            del self.points[1::2]
            self.stride *= 2

    def slope(self) -> float | None:
        """MB in 1,000 steps; None while too little is known."""
        settled = self._settled()
        return _fit(settled)[0] if settled else None

    def warning(self) -> str | None:
        """A line for the user when memory surely grows, once.

        Surely: by more than three standard errors above the limit, in each half of what has
        settled. A jump, such as a cache that is made, is in one of them at most.
        """
        settled = [] if self.warned else self._settled()
        halves = settled[: len(settled) // 2], settled[len(settled) // 2 :]
        fits = [_fit(half) for half in halves if half]
        if not fits or min(slope - 3 * error for slope, error in fits) <= LIMIT:
            return None
        self.warned = True
        return (
            f"memory grows by {_fit(settled)[0]:.1f} MB in 1,000 steps, where {LIMIT:.0f} is the "
            f"limit: {settled[0][1]:.0f} MB at step {settled[0][0]}, {settled[-1][1]:.0f} MB at "
            f"step {settled[-1][0]}"
        )

    def _settled(self) -> list[tuple[int, float]]:
        """Nothing while it is too little."""
        settled = self.points[len(self.points) // 2 :]
        enough = len(settled) >= FEWEST and settled[-1][0] - settled[0][0] >= SPAN
        return settled if enough else []


def _fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    """MB in 1,000 steps, the median over all pairs of points (Theil, Sen), and its error.

    The error is that of a straight line, the spread of the residuals taken from their median.
    """
    x, y = np.array(points).T
    i, j = np.triu_indices(len(x), 1)
    slope = np.median((y[j] - y[i]) / (x[j] - x[i]))
    residuals = y - slope * x
    spread = 1.48 * np.median(np.abs(residuals - np.median(residuals)))
    return 1000 * float(slope), 1000 * float(spread / (np.std(x) * len(x) ** 0.5))
