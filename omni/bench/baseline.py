"""The usual pipeline, to compare with: webdataset, PIL, torchvision, soundfile, torchaudio."""

import io
from collections.abc import Iterator
from pathlib import Path

import soundfile
import torch
from PIL import Image
from torch import Tensor
from torchaudio.transforms import MelSpectrogram
from torchvision import transforms
from webdataset.compat import WebDataset

from omni.config import ModelConfig
from omni.modality.text import Tokenizer
from omni.pipeline.collate import collate
from omni.pipeline.sample import decode_sample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read(folder: Path) -> Iterator[dict]:
    """What webdataset yields, undecoded and unshuffled."""
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    return iter(WebDataset(urls, shardshuffle=False))


def usual(
    folder: Path, batch_size: int, tokenizer: Tokenizer, model: ModelConfig
) -> Iterator[tuple[Tensor, list[Tensor], list[list[int]]]]:
    """Normalised pictures, log-mel frames and token ids, each made for one sample."""
    size, audio = model.image.size, model.audio
    steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    prepare = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])
    mel = MelSpectrogram(
        audio.sample_rate, 4 * audio.hop, hop_length=audio.hop, n_mels=audio.num_mels
    )
    images, sounds, texts = [], [], []
    for sample in read(folder):
        images.append(prepare(Image.open(io.BytesIO(sample["jpg"])).convert("RGB")))
        coded = sample.get("flac") or sample["wav"]
        samples, _ = soundfile.read(io.BytesIO(coded), dtype="float32")
        sounds.append((mel(torch.from_numpy(samples)) + 1e-5).log())
        texts.append(tokenizer.encode(sample["txt"].decode(), model.text.max_tokens))
        if len(images) == batch_size:
            yield torch.stack(images), sounds, texts
            images, sounds, texts = [], [], []


def same_decoders(
    folder: Path, batch_size: int, tokenizer: Tokenizer, model: ModelConfig
) -> Iterator[object]:
    """webdataset's reading, our decoders, our batches."""
    samples = []
    for raw in read(folder):
        members = {name: data for name, data in raw.items() if not name.startswith("__")}
        sample = decode_sample(raw["__key__"], members, model.audio.sample_rate)
        samples.append(sample)
        if len(samples) == batch_size:
            yield collate(samples, tokenizer, model)
            samples = []
