"""Encoders -> one shared transformer -> decoders.

Letters: N items of one sense or of one set of senses, T tokens, D width, E retrieval vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omni.batch import SENSES, Part, Tokens
from omni.config import AudioConfig, ModelConfig, TextConfig
from omni.modality import audio, image
from omni.modality.text import TextDecoder, TextEncoder, Tokenizer
from omni.modality.tower import AudioTower, TextTower, WhisperMel
from omni.nn.flow import FlowDecoder
from omni.nn.lengths import by_length
from omni.nn.position import grid, sequence
from omni.nn.transformer import Projection, Transformer, init_weights
from omni.objective.matching import CLASSES


@dataclass(frozen=True)
class Fused:
    """What the shared transformer makes of one set of senses."""

    tokens: Tokens
    """what decoders look at"""
    vector: Float[Tensor, "N E"]
    """unit vectors of the one retrieval space"""

    def __getitem__(self, rows: Tensor | slice) -> "Fused":
        return Fused(self.tokens[rows], self.vector[rows])


class Network(nn.Module):
    """One model for image, text and audio; see `encode`, `fuse` and the three decoders."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        width, heads, size = config.width, config.num_heads, config.embed_dim
        if not 0 <= (gist := config.gist_dim) < size:
            raise ValueError(f"model.gist_dim must be 0 ... {size - 1} (embed_dim - 1), got {gist}")
        self.config = config
        self.read_size = tokenizer.reader.vocab_size
        self.log_mel = audio.LogMel(config.audio)
        pictures = image.ImageEncoder(config.image, width, gist)
        sounds = audio_encoder(config.audio, width, heads)
        self.encoders = nn.ModuleDict(
            {
                "image": pictures,
                "audio": sounds,
                "text": text_encoder(config.text, self.read_size, width, heads, gist),
            }
        )
        self.projections = nn.ModuleDict(
            {s: nn.Sequential(nn.LayerNorm(width), Projection(width, width)) for s in SENSES}
        )
        self.sense = nn.Embedding(len(SENSES), width)
        self.shared = Transformer(width, config.depth, heads)
        self.head = Projection(width, size - gist, bias=False)
        self.log_scale = nn.Parameter(torch.tensor([1 / 0.07]).log())

        self.text_decoder = TextDecoder(config.text, tokenizer.vocab_size, width, heads)
        self.length = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        drawn, spoken = config.image, config.audio
        side, frames = drawn.size // drawn.patch, -(-spoken.max_frames // spoken.patch)
        cells, times = grid(side, side, config.flow_width), sequence(frames, config.flow_width)
        self.flows = nn.ModuleDict(
            {
                "image": FlowDecoder(config, 3 * drawn.patch**2, cells),
                "audio": FlowDecoder(config, spoken.num_mels * spoken.patch, times),
            }
        )
        self.matcher = Transformer(width, 1, heads)
        self.matching = nn.Sequential(
            nn.Linear(len(SENSES) * (size + width), width),
            nn.GELU(),
            nn.Linear(width, len(CLASSES)),
        )
        self.blank_token = nn.Embedding(len(SENSES), width)
        self.cell, self.side = pictures.cell, pictures.side
        self.token_frames = sounds.token_frames
        """log-mel frames that a token of sound stands for"""
        self.rebuild = nn.ModuleDict(
            {
                "image": nn.Linear(width, 3 * self.cell**2),
                "audio": nn.Linear(width, self.hearing.bands * self.token_frames),
            }
        )
        self.apply(init_weights)
        for part in (self.encoders["text"], *self.flows.values()):
            assert isinstance(part, TextEncoder | TextTower | FlowDecoder)
            part.start()

    def flow(self, sense: str) -> FlowDecoder:
        """The decoder that draws (image) or speaks (audio)."""
        flow = self.flows[sense]
        assert isinstance(flow, FlowDecoder)
        return flow

    def part(self, name: str, field: str) -> nn.Module:
        """By its name. Raises `ValueError`, of a field of the config, where there is none."""
        try:
            return self.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(n for n, _ in self.named_modules() if n.count(".") == 1)
            raise ValueError(f"{field}: no part {name!r}; those below: {known}") from error

    @property
    def hearing(self) -> audio.LogMel | WhisperMel:
        """What makes the frames that the encoder of sound sees; the decoder's are `log_mel`'s."""
        encoder = self.encoders["audio"]
        return encoder.hearing if isinstance(encoder, AudioTower) else self.log_mel

    @property
    def scale(self) -> Float[Tensor, "1"]:
        """Inverse temperature of the contrastive loss, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def blank(self, sense: str, device: torch.device) -> Part:
        """One item of no sample, black, silent or a lone token."""
        side = self.config.image.size
        shape, kind = {
            "image": ((3, side, side), torch.uint8),
            "audio": ((self.log_mel.window,), torch.int16),
            "text": ((4,), torch.long),
        }[sense]
        one = torch.ones(1, dtype=torch.long, device=device)
        return Part(torch.ones(1, *shape, dtype=kind, device=device), -one, one)

    def encode(self, sense: str, part: Part, keys: Int[Tensor, "N"] | None = None) -> Tokens:
        """Tokens of one sense, ready for `fuse`; with keys, of inputs augmented as they say."""
        return self.encode_signal(sense, *self.prepare(sense, part, keys))

    def prepare(
        self, sense: str, part: Part, keys: Int[Tensor, "N"] | None = None
    ) -> tuple[Tensor, Int[Tensor, "N"]]:
        """What `encode_signal` takes of a part; with keys, augmented as they say."""
        if sense == "text":
            return part.data, part.lengths
        if sense == "image":
            pixels = image.normalize(part.data)
            return pixels if keys is None else image.augment(pixels, keys), part.lengths
        hearing = self.hearing
        lengths = hearing.num_frames(part.lengths)
        if keys is None:
            return hearing(part.data), lengths
        frames = hearing(audio.add_noise(part.data, part.lengths, keys))
        room = hearing.num_frames(audio.padded(part.lengths, self.config.audio.sample_rate))
        silence = hearing.silence(frames, lengths)
        return audio.augment(frames, lengths, room, keys, silence, hearing.unit)

    def encode_signal(self, sense: str, signal: Tensor, lengths: Int[Tensor, "N"]) -> Tokens:
        """Tokens of normalised pictures [N 3 S S], `hearing`'s frames [N M F] so many, or ids."""
        encoder = self.encoders[sense]
        return self._place(sense, encoder(signal, lengths) if sense == "audio" else encoder(signal))

    def encode_frames(self, part: Part, count: int) -> Tokens:
        """Videos of `count` frames each, one after the other in `part`, as a few more tokens than
        a picture has: each place over all times, and each time over all places.

        As in Video-ChatGPT (arXiv:2306.05424, section 3.1). Of all tokens of all frames there are
        so many that little is heard of the sound beside them (docs/log.md).
        """
        tokens = self.encode("image", part)
        x = tokens.x.view(-1, count, *tokens.x.shape[1:])
        gist = None if tokens.gist is None else tokens.gist.view(len(x), count, -1).mean(1)
        time = sequence(count, self.config.width, x.device)
        x = torch.cat([x.mean(1), x.mean(2) + 0.1 * time], 1)
        return Tokens(x, x.new_ones(x.shape[:2], dtype=torch.bool), gist)

    def encode_windows(self, part: Part, count: int) -> Tokens:
        """Encode recordings of `count` windows each, one after the other in `part`, as one row.

        A window is what the encoder was trained on; the shared transformer sees all of them.
        """
        tokens = self.encode("audio", part)
        x = tokens.x.reshape(-1, count * tokens.x.shape[1], tokens.x.shape[2])
        return Tokens(x, tokens.mask.reshape(x.shape[:2]))

    def hide(self, sense: str, tokens: Tokens, hidden: Bool[Tensor, "N T"]) -> Tokens:
        """The tokens, of which some say no more than where they are."""
        blank = self.blank_token.weight[SENSES.index(sense)].expand(1, tokens.x.shape[1], -1)
        blank = self._place(sense, Tokens(blank, tokens.mask)).x.to(tokens.x.dtype)
        return Tokens(torch.where(hidden[..., None], blank, tokens.x), tokens.mask)

    def encode_blanked(self, ids: Int[Tensor, "N L"], blank: Bool[Tensor, "N L"]) -> Tokens:
        """Tokens of texts in some places of which there is nothing."""
        return self._place("text", self.encoders["text"](ids, blank))

    def guess_words(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "K V"]:
        """Logits of the token that the text encoder would read in a place that is hidden."""
        texts = self.encoders["text"]
        return texts.guess(x) if isinstance(texts, TextTower) else self.text_decoder.head(x)

    def token_patches(self, sense: str, signal: Tensor) -> Float[Tensor, "N T P"]:
        """What each token of a prepared picture or recording stands for, and `rebuild` guesses."""
        if sense == "image":
            rest = self.side * self.cell - signal.shape[-1]
            return image.patchify(F.pad(signal, (0, rest, 0, rest), value=1.0), self.cell)
        rest = -signal.shape[2] % self.token_frames
        frames = F.pad(signal, (0, rest), value=self.hearing.nothing)
        return audio.patchify(frames, self.token_frames)

    def _place(self, sense: str, tokens: Tokens) -> Tokens:
        position = sequence(tokens.x.shape[1], self.config.width, tokens.x.device)
        kind = self.sense.weight[SENSES.index(sense)]
        # Faint positions: the mean over the tokens, which is the vector, is of what they say.
        return replace(tokens, x=self.projections[sense](tokens.x) + kind + 0.1 * position)

    def fuse(self, *senses: Tokens) -> Fused:
        """One pass of the shared transformer over one sense or several of the same items.

        A sense that an item lacks is masked: absent tokens, never zeros. The vector is made of the
        mean over each sense's tokens, averaged over the senses present, so that a long recording
        does not outweigh a short text; its last `gist_dim` numbers of the gists of those with one.
        """
        mask = torch.cat([tokens.mask for tokens in senses], 1)
        x = by_length(self.shared, torch.cat([tokens.x for tokens in senses], 1), mask)
        parts = x.split([tokens.x.shape[1] for tokens in senses], 1)
        found = [Tokens(p, t.mask).mean() for p, t in zip(parts, senses, strict=True)]
        present = sum(there for _, there in found)
        pooled = sum(there * mean for mean, there in found) / present
        several = zip(senses, found, strict=True)
        gists = (there * t.gist for t, (_, there) in several if t.gist is not None)
        gist = sum(gists, x.new_zeros(len(x), self.config.gist_dim)) / present
        vector = torch.cat([self.head(pooled).float(), gist], 1)
        return Fused(Tokens(x, mask), F.normalize(vector, dim=-1))

    def match(self, senses: Mapping[str, Fused]) -> Float[Tensor, "N 5"]:
        """Logits of what belongs together (`omni.objective.matching.CLASSES`), each fused alone.

        From the products of their vectors, and from a block of its own over all their tokens. It
        looks on and teaches them nothing: what two senses say together and whether they agree are
        two questions, and one sequence does not serve both (docs/log.md).
        """
        tokens = [fused.tokens for fused in senses.values()]
        mask = torch.cat([part.mask for part in tokens], 1)
        x = self.matcher(torch.cat([part.x for part in tokens], 1).detach(), mask)
        seen = dict(zip(senses, x.split([part.x.shape[1] for part in tokens], 1), strict=True))
        vectors, means = {}, []
        for sense in SENSES:
            if sense in senses:
                fused = senses[sense]
                mean, present = Tokens(seen[sense], fused.tokens.mask).mean()
                vectors[sense] = fused.vector.detach() * present
            else:
                mean = x.new_zeros(len(x), x.shape[2])
                vectors[sense] = mean.new_zeros(len(x), self.config.embed_dim)
            means.append(mean)
        products = [vectors[a] * vectors[b] for a, b in combinations(SENSES, 2)]
        return self.matching(torch.cat([*(p * p.shape[1] for p in products), *means], 1))

    def num_frames(self, memory: Tokens) -> Float[Tensor, "N"]:
        """Predicted logarithm of the number of log-mel frames, from the mean token."""
        return self.length(memory.mean()[0]).float()[:, 0]

    def num_patches(self, sense: str, lengths: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Patches that items of so many audio samples have for their flow decoder."""
        limit = len(self.flow(sense).positions)
        if sense == "image":
            return torch.full_like(lengths, limit)
        patch = self.config.audio.patch
        return ((self.log_mel.num_frames(lengths) + patch - 1) // patch).clamp(max=limit)

    def patches(self, sense: str, part: Part) -> tuple[Float[Tensor, "N T P"], Tensor]:
        """The signal as its flow decoder sees it, and the mask of the patches that are present."""
        signal = image.normalize(part.data) if sense == "image" else self.log_mel(part.data)
        x = self.as_patches(sense, signal)[:, : len(self.flow(sense).positions)]
        return x, audio.frame_mask(self.num_patches(sense, part.lengths), x.shape[1])

    def as_patches(self, sense: str, signal: Tensor) -> Float[Tensor, "N T P"]:
        """Normalised pictures [N 3 S S] or log-mel frames [N M F] in patches of their decoder."""
        if sense == "image":
            return image.patchify(signal, self.config.image.patch)
        patch = self.config.audio.patch
        return audio.patchify(
            F.pad(signal, (0, -signal.shape[2] % patch), value=audio.SILENCE), patch
        )

    def signal(self, sense: str, patches: Float[Tensor, "N T P"]) -> Tensor:
        """The inverse of `patches`: normalised pictures [N 3 S S] or log-mel frames [N M F]."""
        if sense == "image":
            return image.unpatchify(patches, self.config.image.patch)
        return audio.unpatchify(patches, self.config.audio.patch)


def audio_encoder(
    config: AudioConfig, width: int, num_heads: int
) -> audio.AudioEncoder | AudioTower:
    """Our own, or built from the settings of a pretrained one."""
    if config.encoder:
        return AudioTower(config, width)
    return audio.AudioEncoder(config, width, num_heads)


def text_encoder(
    config: TextConfig, vocab_size: int, width: int, num_heads: int, gist_dim: int
) -> TextEncoder | TextTower:
    """Built from a type of model, or from the settings of a pretrained one."""
    if config.encoder.startswith("{"):
        return TextTower(config, vocab_size, width, num_heads, gist_dim)
    return TextEncoder(config, vocab_size, width, num_heads)
