"""Pictures for the emoji corpus: SVG icons of Iconify's packages, drawn as small WebP files."""

import io

import resvg_py
from PIL import Image

SIZE = 64  # pixels, square
LONG_SIDE = 60  # of the ink, in the middle of the square
RENDER = 256  # pixels at which the vector drawing is rendered, before it is scaled down
INK = 8  # alpha from which a pixel counts as ink; below it is the fringe of shadows
QUALITY = 55


def resolve(icons: dict, slug: str) -> tuple[str, bool] | None:
    """Return the name under which a set holds its drawing of `slug`, and whether it is mirrored.

    `icons` is an Iconify set (the content of its icons.json). None when the set has no such icon.
    """
    if slug in icons["icons"]:
        return slug, False
    alias = icons.get("aliases", {}).get(slug)
    return alias and (alias["parent"], alias.get("hFlip", False))


def to_svg(icons: dict, slug: str) -> str:
    """Return an icon of an Iconify set as an SVG document, its long side 256 pixels."""
    found = resolve(icons, slug)
    assert found is not None
    name, mirrored = found
    icon = icons["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    scale = RENDER / max(width, height)
    body = icon["body"]
    if mirrored:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" '
        f'width="{width * scale:g}" height="{height * scale:g}">{body}</svg>'
    )


def draw(svg: str) -> bytes:
    """Draw an SVG document on white, cropped to its ink and scaled to 60 of 64 pixels, as WebP.

    The crop takes away each style's own margin, so that no style is told by it.
    """
    rendered = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    box = rendered.getchannel("A").point([255 * (alpha > INK) for alpha in range(256)]).getbbox()
    if box is None:
        raise ValueError(f"an icon without ink: {svg[:200]}")
    ink = rendered.crop(box)
    scale = LONG_SIDE / max(ink.size)
    ink = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.LANCZOS)
    picture = Image.new("RGBA", (SIZE, SIZE), "white")
    picture.alpha_composite(ink, ((SIZE - ink.width) // 2, (SIZE - ink.height) // 2))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "webp", quality=QUALITY, method=6)
    return file.getvalue()
