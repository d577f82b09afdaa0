"""What a run is: frozen dataclasses of plain values, to and from JSON.

A preset is a function that returns a `Config` (see `omni.presets`); the flags of `train.py` are
the fields below. Nothing here imports more than the standard library.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ImageConfig:
    """Pictures: the timm encoder that reads them and the pixel patches that the decoder draws."""

    encoder: str = "resnet10t"
    """any timm model name; its last feature map (or its patch tokens) is the sequence"""
    pretrained: str = ""
    """weights that it begins with: a file of them, or "timm" for those that timm downloads"""
    size: int = 64
    """side of the square that encoder and decoder see, in pixels"""
    patch: int = 16
    """side of one patch of the decoder, in pixels"""


@dataclass(frozen=True)
class AudioConfig:
    """Sound: log-mel frames, the encoder over them and the frames that the decoder speaks."""

    sample_rate: int = 16_000
    """Hz"""
    num_mels: int = 64
    hop: int = 200
    """samples from one frame to the next; the analysis window is four hops"""
    max_seconds: float = 2.0
    """longer clips are cut"""
    encoder: str = ""
    """the settings of a Whisper as JSON, whose encoder is built as they say; "": our own"""
    pretrained: str = ""
    """folder or hub name of a Whisper of transformers, whose encoder takes the place of ours"""
    depth: int = 1
    """transformer blocks of the encoder, after convolutions of stride 4"""
    patch: int = 4
    """frames of one token of the decoder"""

    @property
    def max_frames(self) -> int:
        """Log-mel frames of the longest clip, both ends included."""
        return int(self.max_seconds * self.sample_rate) // self.hop + 1


@dataclass(frozen=True)
class TextConfig:
    """Text: a transformers encoder and a causal decoder over one byte-level vocabulary."""

    encoder: str = "modernbert"
    """a model type of transformers, built with the width and depth given here; or the settings of
    one as JSON, built as they say"""
    pretrained: str = ""
    """folder or hub name of a transformers encoder that takes the place of `encoder`, with its
    weights, and reads by its own tokenizer"""
    vocab_size: int = 800
    """tokens of what is written and, without a pretrained encoder, of what is read; 0: letters"""
    max_tokens: int = 20
    ngrams: int = 16_384
    """rows of the encoder's table for runs of tokens; beside a pretrained one, of letters"""
    depth: int = 1
    decoder_depth: int = 2


@dataclass(frozen=True)
class ModelConfig:
    """The network: three encoders, the shared transformer, the decoders."""

    width: int = 192
    depth: int = 2
    """blocks of the shared transformer"""
    num_heads: int = 3
    embed_dim: int = 192
    """size of the retrieval vectors"""
    gist_dim: int = 0
    """of that, for what pretrained encoders of pictures and texts know by themselves; 0: nothing"""
    flow_width: int = 256
    flow_depth: int = 4
    """blocks of each of the two flow decoders (image, speech)"""
    flow_draft: int = 1024
    """hidden units that draft a whole picture or recording at once; 0 for none"""
    image: ImageConfig = field(default_factory=ImageConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    text: TextConfig = field(default_factory=TextConfig)


ABSENT, DROP = "absent", "drop"
"""values of `data.damaged`"""


@dataclass(frozen=True)
class DataConfig:
    """Which samples, in which order, and how many at a time."""

    path: tuple[str, ...] = ("data/sample",)
    """folders of webdataset shards SPLIT-*.tar, patterns such as 'shards/*.tar', or URLs of
    folders; or "synthetic" or "synthetic-questions" """
    weights: tuple[float, ...] = ()
    """share of each path in every batch; none: as large as they are"""
    require: tuple[str, ...] = ()
    """senses that a sample of each path must have, such as image+text; none: any"""
    split: str = "train"
    batch_size: int = 128
    """samples of all processes together"""
    shuffle_shards: int = 0
    """shards that are mixed at a time, for data that is far away; 0 for all"""
    streams: int = 1
    """parts of an epoch that are gone through side by side; best a multiple of the ranks"""
    workers: int = 0
    """processes that decode; 0 for a thread of the training process"""
    damaged: str = ABSENT
    """what becomes of a sample with a damaged file: "absent", its other senses are used; "drop",
    another sample takes its place"""
    max_bad: float = 0.05
    """share of damaged samples above which training stops"""
    foreign: float = 0.5
    """share of samples without speech whose text is taken in another language than English"""
    translated: float = 0.0
    """share of recordings whose text comes in another language as well, to be found"""
    languages: tuple[str, ...] = ()
    """of those others; none: all that there are"""
    language_alpha: float = 0.0
    """power of the number of samples that have a language, by which it is drawn of those others:
    0 evenly, 1 as they come, .3 in XLM-R (arXiv:1911.02116, section 3.1)"""
    extra_texts: int = 192
    """more texts in a batch, without picture and sound: candidates for the contrast"""
    shuffled: bool = False
    """control: break the pairs, so that nothing can be learned from them"""


@dataclass(frozen=True)
class LossConfig:
    """Weight of each objective, where 0 switches it off; and how much the decoders are shown."""

    contrastive: float = 1.0
    """of each of the pairs"""
    pairs: tuple[str, ...] = ("image+text", "audio+text", "image+audio")
    """senses that are compared: each counts alike, however few items of it there are"""
    joint: float = 0.25
    """contrast of two senses together with the third"""
    within: float = 0.5
    """contrast of pictures, and of recordings, with others of the same thing"""
    memory: int = 4096
    """past vectors of each sense that are candidates for the contrast too"""
    matching: float = 0.0
    """which senses of a sequence belong together, and which are another sample's"""
    masked: float = 0.0
    """hidden tokens of every sense, guessed from the rest of the sample"""
    next_token: float = 0.5
    """from every source of a text"""
    word_dropout: float = 0.0
    """share of the tokens before it that are hidden from the text decoder, so that it heeds what it
    sees and hears (arXiv:1511.06349, section 3.1)"""
    image_flow: float = 1.0
    audio_flow: float = 1.0
    dropping: float = 0.0
    """share of the samples whose senses are dropped at random and made from what is left; of the
    others pictures and speech are made from text mostly"""

    def total(self, losses: dict[str, Any]) -> Any:
        """The weighted sum of losses that are named FIELD or FIELD/DETAIL."""
        weights = dataclasses.asdict(self)
        return sum(weights[name.split("/")[0]] * loss for name, loss in losses.items())


@dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    steps: int = 1000
    lr: float = 4e-3
    warmup: int = 30
    """steps of linear warm-up, followed by a cosine to zero"""
    weight_decay: float = 0.05
    clip: float = 1.0
    """largest norm of the gradient"""
    ema: float = 0.995
    """decay of the averaged weights, with which the model is evaluated and used"""
    frozen: tuple[str, ...] = ()
    """parts of the network that do not learn, such as encoders.image.backbone"""
    thaw: float = 1.0
    """share of the steps after which they do"""
    lora: int = 0
    """rank of the adapters that learn in the place of linear maps; 0 for none"""
    lora_parts: tuple[str, ...] = ()
    """parts of the network of which nothing but adapters learns, such as encoders.text.encoder"""
    seed: int = 0
    device: str = "auto"
    precision: str = "bf16"
    """bf16 (autocast, where the device has such arithmetic) or fp32"""
    compile: bool = False
    """torch.compile of each transformer block"""
    recompute: bool = False
    """keep no activations inside a block: less memory, a third more work"""
    offload: bool = False
    """keep what is in slices (mesh) in the memory of the CPU, and update it there"""
    mesh: tuple[int, int, int] = (0, 1, 1)
    """processes that hold copies (0: all that are left), that share parameters in slices (FSDP2),
    and that split every matrix (tensor parallel); see omni/training/parallel.py"""
    accumulate: int = 1
    """micro-batches of each process in a step"""
    deterministic: bool = False
    """the same bits for any number of processes that times `accumulate` gives the same"""
    threads: int = 0
    """CPU threads; 0 takes $OMP_NUM_THREADS, or every core that this process may use"""
    log_every: int = 10
    save_every: int = 200
    sample_every: int = 200
    """steps between pictures and sound of fixed prompts; 0 for none"""


@dataclass(frozen=True)
class EvaluateConfig:
    """How a run measures itself: `python -m eval.run` on checkpoints, while training waits."""

    every: int = 0
    """steps between evaluations, each of which is a checkpoint too; 0 for none"""
    tasks: tuple[str, ...] = ("retrieval",)
    data: str = ""
    """folder of the shards that are asked about; none: the first of those trained on"""
    limit: int = 64
    """items made in each direction"""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "run"
    """the run's folder is runs/NAME"""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def to_json(self) -> str:
        """Indented JSON, the inverse of `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> "Config":
        """Raises `ValueError` for a field that this version does not know."""
        return _build(Config, json.loads(text), "config")


def _build(cls: type, values: dict[str, Any], where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(values.keys() - fields.keys()):
        raise ValueError(f"{where} has no field {unknown[0]!r}; known: {', '.join(fields)}")
    kwargs = {}
    for name, value in values.items():
        kind = fields[name].type
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            value = _build(kind, value, f"{where}.{name}")
        elif isinstance(value, list):  # JSON has no tuples
            value = tuple(value)
        kwargs[name] = value
    return cls(**kwargs)
