"""Tux Paint's stamps: drawings and photographs, named in 78 languages and spoken by people in many.

In `root` what Debian's package holds (or, under `usr/share/tuxpaint/stamps`, the whole of it):

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default_*.deb root

A stamp is STEM.svg or .png (of both the first, if it holds no text), STEM.txt with its captions,
STEM_desc_LL.ogg with the recording of one in language LL (STEM_desc.ogg: English), STEM.ogg or .wav
with its sound.
One sample a stamp with the picture and the English caption, one for each recording with the caption
in its language, one for the sound with the English caption: the picture is there once, and what is
of one stamp is linked by its concept. The split is by groups of stamps that share a caption, a
recording or nearly a picture; stamps that it does not know, of another version of the package, are
in train. Of the recordings of train about one in nine, chosen by its contents, is in a split of its
own, `held`: the stamp is known, and its name in that language was never heard. Meta: `stem`,
`concept` (the English caption: samples with the same are no negatives of each other), `kind`
(stamp, speech or sound), `names` (the captions in all languages).
Licences: GPL-2 and others, in usr/share/doc/tuxpaint-stamps-default/copyright.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from data.recipes import files
from data.record import Record

PAGE = "https://packages.debian.org/tuxpaint-stamps-default"
INSIDE = "usr/share/tuxpaint/stamps"
SPLIT = Path(__file__).with_name("stamps_split.json")
"""of version 2022.06.04-1"""
NOT_FREE = {"vehicles/emergency/firetruck.ogg"}
HELD = 9
"""one in so many recordings of training stamps is held out"""
SIDE = 256
"""pixels of the longer side of a picture"""
INK = 8
"""alpha from which a pixel is part of the drawing"""
PALE = 225
"""mean of a drawing above which white paper would swallow it"""
WHITE, SLATE = (255, 255, 255), (112, 128, 144)


def read(root: Path) -> Iterator[Record]:
    """Yield the stamps of the user's copy."""
    root = root / INSIDE if (root / INSIDE).is_dir() else root
    if not any(root.rglob("*.txt")):
        raise ValueError(f"{root} must hold stamps with their .txt; to be had from {PAGE}")
    return files.present(_records(root), "stamps", PAGE)


def _records(root: Path) -> Iterator[Record]:
    splits = json.loads(SPLIT.read_text())["split"]
    for text in sorted(root.rglob("*.txt")):
        stem = text.relative_to(root).with_suffix("").as_posix()
        if (source := find_picture(text)) is None:
            continue
        captions, picture = read_captions(text.read_text("utf-8-sig")), draw(source)
        if not (english := captions.get("en")):
            raise ValueError(f"{text} must begin with an English caption")
        split = splits.get(stem, "train")
        meta: dict[str, Any] = {"stem": stem, "concept": english.casefold(), "names": captions}
        yield Record(stem, picture, None, (english,), "en", split, meta=meta | {"kind": "stamp"})
        for recording in sorted(text.parent.glob(f"{escape(text.stem)}_desc*.ogg")):
            language = recording.stem.removeprefix(f"{text.stem}_desc").lstrip("_") or "en"
            if language in captions:  # a recording of nothing written is of no use
                said, part = (captions[language],), "held" if is_held(recording, split) else split
                told = meta | {"kind": "speech"}
                yield Record(f"{stem}-{language}", None, recording, said, language, part, meta=told)
        sounds = (text.with_suffix(s) for s in (".ogg", ".wav"))
        for sound in (s for s in sounds if s.exists() and f"{stem}{s.suffix}" not in NOT_FREE):
            kind = meta | {"kind": "sound"}
            yield Record(f"{stem}-sound", None, sound, (english,), "en", split, meta=kind)
            break


def find_picture(text: Path) -> Path | None:
    """The drawing of a stamp: its SVG, unless its letters need fonts that may not be here."""
    svg, png = text.with_suffix(".svg"), text.with_suffix(".png")
    if svg.exists() and not (png.exists() and b"<text" in svg.read_bytes()):
        return svg
    return png if png.exists() else None


def is_held(recording: Path, split: str) -> bool:
    """Whether a recording is kept from training: by its bytes, which several stamps may share."""
    if split != "train":
        return False
    digest = hashlib.sha256(recording.read_bytes()).digest()
    return int.from_bytes(digest[:4], "big") % HELD == 0


def read_captions(text: str) -> dict[str, str]:
    """The captions by language: the first line is English, others are CODE.utf8=CAPTION."""
    first, *others = text.splitlines() or [""]
    captions = {"en": first.strip()}
    for line in others:
        name, found, caption = line.partition("=")
        if found and name.endswith(".utf8") and caption.strip():
            captions.setdefault(name.removesuffix(".utf8"), caption.strip())
    return captions


def draw(path: Path) -> bytes:
    """A stamp as PNG, cropped to what is drawn; on slate where it is nearly white."""
    data = path.read_bytes()
    if path.suffix == ".svg":
        # Without dots per inch a size in points is none.
        svg = data.decode("utf-8")
        data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIDE, dpi=96))
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    ink = picture.getchannel("A").point([255 * (alpha > INK) for alpha in range(256)])
    if (box := ink.getbbox()) is None:
        raise ValueError(f"{path} shows nothing")
    picture, ink = picture.crop(box), ink.crop(box)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    grey = Image.new("RGBA", picture.size, WHITE)
    grey.alpha_composite(picture)
    seen = ink.resize(picture.size).histogram()[255]
    levels = grey.convert("L").histogram(ink.resize(picture.size, Image.Resampling.NEAREST))
    brightness = sum(level * count for level, count in enumerate(levels)) / max(seen, 1)
    paper = Image.new("RGBA", picture.size, SLATE if brightness > PALE else WHITE)
    paper.alpha_composite(picture)
    file = io.BytesIO()
    paper.convert("RGB").save(file, "png")
    return file.getvalue()
