"""What may be wrong with one sample: each rule looks at it and says what it found.

A rule that a decoder decides tolerates nothing. One that judges content may be wrong at times, and
a few such samples hurt nobody: up to its share of the samples it warns, above that it is an error.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from data.prepare.languages import foreign_script
from omni.pipeline.decode import decode_audio, decode_image, decode_json, decode_text, texts_of
from omni.pipeline.formats import SLOTS

TOLERATED = 0.01
"""share of samples of odd content that is still a warning"""
FLAT = 4
"""levels of 255 by which a picture of one colour may differ, as JPEG makes it"""
SILENCE = 3.0
"""standard deviation of int16 samples up to which nothing can be heard: -81 dB"""
SHOWN = 48
"""characters of a text in an example"""

Members = Mapping[str, bytes | bytearray]
"""the bytes of a sample by extension"""


@dataclass
class Content:
    """One sample as far as it can be decoded; `faults` says by member what cannot, and why."""

    key: str
    sizes: dict[str, int]
    image: np.ndarray | None = None
    audio: np.ndarray | None = None
    rate: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    """(language, text)"""
    faults: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """members with nothing in them, and what is there instead"""

    def member(self, sense: str) -> str:
        """The extension of the member that holds a sense."""
        return next((e for e in self.sizes if SLOTS.get(e) == sense), "json")

    @cached_property
    def blank(self) -> bool:
        """Whether its picture has one colour only."""
        return self.image is not None and bool((np.ptp(self.image, axis=(0, 1)) <= FLAT).all())

    @cached_property
    def silent(self) -> bool:
        """Whether nothing can be heard in its recording."""
        return self.audio is not None and float(self.audio.std(dtype=np.float32)) <= SILENCE


def read_content(key: str, members: Members, media: bool = True) -> Content:
    """Decodes what can be decoded; without `media`, texts only."""
    content = Content(key, {extension: len(data) for extension, data in members.items()})
    text, texts, language = "", {}, "en"
    for extension, data in members.items():
        slot = SLOTS.get(extension, extension)
        if not data:
            content.absent[extension] = "0 bytes"
            continue
        try:
            if slot == "text":
                text = decode_text(data)
                if not text:
                    content.absent[extension] = f"{len(data)} bytes of white space"
            elif slot == "json":
                meta = decode_json(data)
                texts = texts_of(meta)
                language = meta.get("language") or "en"
            elif media and slot == "image":
                content.image = decode_image(data).permute(1, 2, 0).numpy()
            elif media:
                samples, content.rate = decode_audio(data)
                content.audio = samples.numpy()
        except ValueError as error:
            content.faults[extension] = str(error)
    if text:
        content.texts.append((language, text))
    content.texts += [(code, each) for code, many in texts.items() for each in many]
    return content


Rule = Callable[[Content], Iterator[tuple[str, str]]]
"""yields (member, what is wrong with it)"""


def _refused(content: Content, *slots: str) -> Iterator[tuple[str, str]]:
    for extension, reason in content.faults.items():
        if SLOTS.get(extension, extension) in slots:
            yield extension, reason


def bad_picture(content: Content) -> Iterator[tuple[str, str]]:
    """Pictures that the decoder refuses."""
    yield from _refused(content, "image")


def bad_recording(content: Content) -> Iterator[tuple[str, str]]:
    """Recordings that the decoder refuses."""
    yield from _refused(content, "audio")


def bad_text(content: Content) -> Iterator[tuple[str, str]]:
    """Texts and json that the decoder refuses."""
    yield from _refused(content, "text", "json")


def empty(content: Content) -> Iterator[tuple[str, str]]:
    """Files with nothing in them: each is a modality that its sample does not have."""
    yield from content.absent.items()


def blank(content: Content) -> Iterator[tuple[str, str]]:
    """Pictures of one colour."""
    if content.image is not None and content.blank:
        yield content.member("image"), f"one colour, rgb {tuple(content.image[0, 0].tolist())}"


def silent(content: Content) -> Iterator[tuple[str, str]]:
    """Recordings in which nothing can be heard."""
    if content.audio is not None and content.silent:
        loudest = int(np.abs(content.audio.astype(np.int32)).max())
        yield content.member("audio"), f"loudest sample {loudest} of 32767"


def contradicted(content: Content) -> Iterator[tuple[str, str]]:
    """Texts that are mostly in a script that their language is never written in."""
    for language, text in content.texts:
        if other := foreign_script(text, language):
            yield content.member("text"), f"{language}, but {other} letters: {text[:SHOWN]!r}"


@dataclass(frozen=True)
class Check:
    """A rule, how its finding is called, and the share of a sense up to which it only warns.

    What is tolerated without end is never more than a warning.
    """

    title: str
    sense: str
    rule: Rule
    tolerated: float = 0.0


CHECKS = (
    Check("pictures that cannot be decoded", "image", bad_picture),
    Check("recordings that cannot be decoded", "audio", bad_recording),
    Check("texts that are too long or not UTF-8", "text", bad_text),
    Check("files with nothing in them, which count as absent", "text", empty, math.inf),
    Check("pictures of one colour", "image", blank, TOLERATED),
    Check("silent recordings", "audio", silent, TOLERATED),
    Check("texts in another script than their language's", "text", contradicted, TOLERATED),
)
