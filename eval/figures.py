"""What the report shows beside words: loss curves, pictures, sounds. HTML and SVG as strings.

The curves are drawn here rather than by matplotlib, whose pictures can neither follow the
reader's light or dark mode nor leave out addresses of foreign name spaces.
"""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import PIL.Image
import soundfile

from eval.corpus import Item
from omni import Audio, Video

WIDTH, HEIGHT = 220.0, 92.0


def media(shown: Item, alt: str) -> str:
    """An item as HTML: a picture, a player, or the words themselves; `alt` says what it is."""
    if isinstance(shown, str | Path):
        return f"<span>{escape(str(shown)) or '(nothing)'}</span>"
    if isinstance(shown, Audio):
        return sound(shown, alt)
    if isinstance(shown, PIL.Image.Image):
        return picture(shown, alt)
    if isinstance(shown, Video):
        shown = (*shown.frames, shown.audio) if shown.audio else shown.frames
    return " ".join(media(part, alt) for part in shown)


def picture(shown: PIL.Image.Image, alt: str) -> str:
    """An `img` that carries its own bytes, lossless WebP."""
    data = io.BytesIO()
    shown.convert("RGB").save(data, "WEBP", lossless=True)
    source = base64.b64encode(data.getvalue()).decode()
    return f'<img src="data:image/webp;base64,{source}" alt="{escape(alt)}" loading="lazy">'


def sound(shown: Audio, alt: str, bars: int = 48) -> str:
    """A button that plays 16-bit WAV, beside the outline of the sound."""
    data = io.BytesIO()
    samples = np.asarray(shown.samples, dtype=np.float32)
    soundfile.write(data, samples, shown.sample_rate, format="WAV", subtype="PCM_16")
    source = base64.b64encode(data.getvalue()).decode()
    parts = np.array_split(np.abs(samples), bars)
    heights = np.array([part.max() if len(part) else 0.0 for part in parts])
    heights = heights / max(float(heights.max(initial=0.0)), 1e-6) * 9
    outline = "".join(
        f"M{2 * i + 1} {10 - h:.1f}V{10 + h:.1f}" for i, h in enumerate(np.maximum(heights, 0.5))
    )
    return (
        f'<span class="sound"><button type="button" aria-label="play: {escape(alt)}"></button>'
        f'<svg viewBox="0 0 {2 * bars} 20" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="wave" d="{outline}"/></svg>'
        f'<audio preload="none" src="data:audio/wav;base64,{source}"></audio></span>'
    )


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Every scalar that RUN/metrics.jsonl logs against `step`: name -> [n, 2] of (step, value)."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a run that was killed leaves half a line
            continue
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and np.isfinite(value):
                found.setdefault(name, []).append((row.get("step", 0), value))
    return {name: np.array(points, dtype=float) for name, points in found.items()}


def curves(path: Path) -> str:
    """Small multiples of all that the run logged, each against the step."""
    series = read_metrics(path)
    figures = [curve(name, points) for name, points in series.items() if len(points) > 1]
    return f'<div class="curves">{"".join(figures)}</div>' if figures else ""


def curve(name: str, points: np.ndarray) -> str:
    """One scalar: as logged, pale, and its running mean; the last mean stands beside the name."""
    step, value = points[:, 0], points[:, 1]
    smooth = running_mean(value, max(1, len(value) // 25))
    # A first step far above all others would flatten the rest.
    low, high = float(value.min()), float(np.percentile(value, 99))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    ticks = [low, (low + high) / 2, high]

    def line(values: np.ndarray, kind: str) -> str:
        keep = np.unique(np.linspace(0, len(step) - 1, 300).astype(int))
        x = (step[keep] - step[0]) / max(step[-1] - step[0], 1) * (WIDTH - 34) + 34
        y = HEIGHT - 14 - (np.clip(values[keep], low, high) - low) / (high - low) * (HEIGHT - 22)
        pairs = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline class="{kind}" points="{pairs}"/>'

    parts = []
    for i, tick in enumerate(ticks):
        y = HEIGHT - 14 - i / 2 * (HEIGHT - 22)
        parts.append(f'<line class="grid" x1="34" x2="{WIDTH}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="29" y="{y + 3}" text-anchor="end">{short(tick)}</text>')
    parts += [
        f'<text x="34" y="{HEIGHT - 2}">{step[0]:.0f}</text>',
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">step {step[-1]:.0f}</text>',
        line(value, "raw"),
        line(smooth, "line"),
    ]
    title = f"{name} over {step[-1]:.0f} steps, from {short(value[0])} to {short(smooth[-1])}"
    return (
        f"<figure><figcaption>{escape(name)}<span>{short(smooth[-1])}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def running_mean(values: Sequence[float] | np.ndarray, width: int) -> np.ndarray:
    """Mean over the last `width` values (fewer at the beginning)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(total))
    start = np.maximum(end - width, 0)
    return (total[end] - total[start]) / (end - start)


def short(value: float) -> str:
    """Three significant digits, powers of ten for the very small."""
    return f"{value:.0e}".replace("e-0", "e−") if 0 < abs(value) < 1e-3 else f"{value:.3g}"
