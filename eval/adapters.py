"""Known models, to calibrate a benchmark with: open_clip:ARCH:PATH and transformers:PATH.

PATH is a file of weights or a folder; where there is a network it may be a name instead, a tag of
open_clip or a repository of the Hugging Face hub. No code that comes with weights is run.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchaudio
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
)

from eval.embedder import Adapter
from omni import Audio

FORMS = ("open_clip:ARCH:PATH", "transformers:PATH")


class Kind(NamedTuple):
    """What a family of models hears or sees beside text, and how its texts are padded."""

    sense: str
    padding: str
    """`longest`, and what pads is masked; `max_length` where that was trained, unmasked"""


FAMILIES = {
    "clip": Kind("image", "longest"),
    "siglip": Kind("image", "max_length"),
    "clap": Kind("audio", "longest"),
}
"""by the `model_type` of config.json"""


def is_adapter(name: str) -> bool:
    """Whether a name on the command line is that of a known model."""
    return name.startswith(tuple(form.split(":")[0] + ":" for form in FORMS))


def load(name: str, device: str = "cpu") -> Adapter:
    """The model of a name. Raises `ValueError`, naming it, for one that cannot be had."""
    kind, _, rest = name.partition(":")
    architecture, _, path = rest.rpartition(":") if kind == "open_clip" else ("", "", rest)
    if not path or (kind == "open_clip" and not architecture):
        raise ValueError(f"a known model is named {' or '.join(FORMS)}, got {name!r}")
    if kind == "open_clip" and find_spec("open_clip") is None:
        raise ValueError(f"{name} needs open_clip_torch: pip install -e '.[eval]'")
    try:
        if kind == "open_clip":
            return OpenClip(name, *opened(architecture, path), device)
        return Transformers(name, *fetched(path), device)
    except Exception as error:
        raise ValueError(f"{name}: {error}") from error


def opened(architecture: str, path: str) -> tuple[str, nn.Module]:
    """The name by which open_clip knows the architecture, and the network with its weights.

    A folder is one as open_clip saves it to a hub, with preprocessing and tokenizer of its own;
    its pictures must be those of `architecture`, or that is "local-dir", which is any.
    """
    import open_clip

    place, tag = (f"local-dir:{path}", None) if Path(path).is_dir() else (architecture, path)
    if tag is None and architecture != "local-dir":
        asked, found = (open_clip.get_model_config(one) or {} for one in (architecture, place))
        for field in ("embed_dim", "vision_cfg"):
            if asked.get(field) != found.get(field):
                raise ValueError(
                    f"the folder's {field} must be that of {architecture}, "
                    f"{asked.get(field)}, got {found.get(field)}"
                )
    network = open_clip.create_model(
        place, tag, pretrained_text=False, require_pretrained=True, weights_only=True
    )
    return place, network


class OpenClip(Adapter):
    """A model of open_clip, with the transform of its configuration and its tokenizer.

    Weights that were trained with QuickGELU need an architecture of such a name.
    """

    senses = frozenset({"image", "text"})

    def __init__(self, name: str, place: str, network: Any, device: str) -> None:
        import open_clip

        super().__init__(name, network, device)
        self.place = place
        settings = open_clip.transform.PreprocessCfg(**network.visual.preprocess_cfg)
        self.transform: Any = open_clip.transform.image_transform_v2(settings, is_train=False)
        self.tokenizer: Callable = open_clip.get_tokenizer(place)

    def untrained(self, seed: int = 0) -> "OpenClip":
        """The same architecture with fresh weights, keyed by the seed."""
        import open_clip

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh: Any = open_clip.create_model(
                self.place, load_weights=False, pretrained_text=False
            )
        network: Any = self.network  # whose weights may have come with a transform of their own
        fresh.visual.preprocess_cfg = network.visual.preprocess_cfg
        return OpenClip(self.name, self.place, fresh, str(self.device))

    def forward(self, sense: str, items: list) -> Float[Tensor, "N D"]:
        """Features as the network projects them."""
        network: Any = self.network
        if sense == "text":
            return network.encode_text(self.tokenizer(items).to(self.device))
        pixels = torch.stack([self.transform(item.convert("RGB")) for item in items])
        return network.encode_image(pixels.to(self.device))


def fetched(path: str) -> tuple[str, nn.Module]:
    """A folder or a name, and its network in fp32.

    Raises `ValueError` for another family, and for weights that are not all there: the library
    would draw the others at random.
    """
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"model_type must be one of {', '.join(FAMILIES)}, got {config.model_type!r}"
        )
    network, found = AutoModel.from_pretrained(
        path,
        use_safetensors=True,
        dtype=torch.float32,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"the weights must hold every tensor, {missing[0]} is missing")
    return path, network


class Transformers(Adapter):
    """CLIP (arXiv:2103.00020), SigLIP (2303.15343) or CLAP (2211.06687) of transformers.

    Of sound the first seconds are heard, as many as the model takes: left to itself the library
    draws a part at random.
    """

    def __init__(self, name: str, path: str, network: Any, device: str) -> None:
        super().__init__(name, network, device)
        self.path, self.config = path, network.config
        self.kind = FAMILIES[self.config.model_type]
        self.senses = frozenset({self.kind.sense, "text"})
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        auto = {"image": AutoImageProcessor, "audio": AutoFeatureExtractor}[self.kind.sense]
        self.processor: Any = auto.from_pretrained(path, trust_remote_code=False)
        positions = self.config.text_config.max_position_embeddings
        # RoBERTa counts its positions from behind that of padding.
        taken = self.config.text_config.pad_token_id + 1 if self.kind.sense == "audio" else 0
        self.max_tokens = positions - taken

    def untrained(self, seed: int = 0) -> "Transformers":
        """The same architecture with fresh weights, keyed by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = AutoModel.from_config(self.config, dtype=torch.float32)
        return Transformers(self.name, self.path, fresh, str(self.device))

    def forward(self, sense: str, items: list) -> Float[Tensor, "N D"]:
        """Features as the network projects them."""
        network: Any = self.network
        if sense == "text":
            found = network.get_text_features(**self._texts(items))
        elif sense == "image":
            pictures = [item.convert("RGB") for item in items]
            inputs = self.processor(images=pictures, return_tensors="pt").to(self.device)
            found = network.get_image_features(inputs["pixel_values"])
        else:
            found = network.get_audio_features(**self._sounds(items))
        return found.pooler_output

    def _texts(self, items: list[str]) -> dict[str, Tensor]:
        """Token ids, and a mask where the family has one."""
        inputs = self.tokenizer(
            items,
            padding=self.kind.padding,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        names = ["input_ids"] + ["attention_mask"] * (self.kind.padding == "longest")
        return {name: inputs[name].to(self.device) for name in names}

    def _sounds(self, items: list[Audio]) -> dict[str, Tensor]:
        """Log-mel spectrograms of the first seconds, none of which is a part of a longer one."""
        rate, seconds = self.processor.sampling_rate, self.processor.max_length_s
        waves = [resample(item, rate)[: int(rate * seconds)] for item in items]
        inputs = self.processor(waves, sampling_rate=rate, return_tensors="pt")
        mels = inputs["input_features"].float().to(self.device)
        return {
            "input_features": mels,
            "is_longer": torch.zeros(len(mels), 1, dtype=torch.bool, device=self.device),
        }


def resample(sound: Audio, rate: int) -> np.ndarray:
    """Its samples at `rate` Hz."""
    samples = torch.from_numpy(sound.samples)
    return torchaudio.functional.resample(samples, sound.sample_rate, rate).numpy()
