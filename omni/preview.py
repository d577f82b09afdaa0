"""Pictures, speech and captions of fixed prompts, written while a model learns."""

import sys
from pathlib import Path

import torch
from torchvision.transforms.functional import to_tensor
from torchvision.utils import save_image

from omni.batch import Sample
from omni.interface import Omni
from omni.items import to_sound
from omni.modality.image import normalize, to_pil


def write_preview(model: Omni, samples: list[Sample], folder: Path) -> None:
    """image.png (real, drawn from text, drawn from speech), *.wav and captions.txt.

    The prompts are samples that have all senses; without any nothing is written. A full disk is
    said on stderr: it must not end the run.
    """
    try:
        if samples:
            _write(model, samples, folder)
    except OSError as error:
        print(f"{folder}: not written: {error}", file=sys.stderr)


def _write(model: Omni, samples: list[Sample], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rate = model.config.model.audio.sample_rate
    images = [to_pil(normalize(s.image)) for s in samples if s.image is not None]
    sounds = [to_sound(s.audio, rate) for s in samples if s.audio is not None]
    texts = [s.text for s in samples if s.text is not None]
    rows = [images, model.generate(texts, to="image")]
    rows += [model.generate(sounds, to="image", seed=1)]  # seed 0 would give the row above again
    size = model.config.model.image.size
    cells = [to_tensor(image.resize((size, size))) for row in rows for image in row]
    save_image(torch.stack(cells), folder / "image.png", nrow=len(samples), padding=0)
    captions = model.generate(images, to="text")
    transcripts = model.generate(sounds, to="text")
    lines = [
        f"{text}\tcaption: {caption}\ttranscript: {transcript}"
        for text, caption, transcript in zip(texts, captions, transcripts, strict=True)
    ]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for text, speech in zip(texts, model.generate(texts, to="audio"), strict=True):
        speech.save(folder / f"{text.replace('/', ' ')}.wav")
