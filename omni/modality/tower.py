"""Encoders of transformers as they come, weights and all: of texts, and of sound.

Letters: N texts or recordings, L tokens, V vocabulary, K letters of a token, S letters of a text or
samples of a recording, D width, M mel bands, F frames.
"""

import json
import math
from dataclasses import replace
from typing import Any
from zlib import crc32

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int16
from tokenizers import Tokenizer as FastTokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from omni.batch import Tokens
from omni.config import AudioConfig, TextConfig
from omni.modality.audio import LogMel, frame_mask
from omni.modality.encoder import build_encoder, encoder_of, probe
from omni.modality.text import END, PAD, SPECIAL, TextEncoder, Tokenizer
from omni.nn.lengths import by_length
from omni.nn.transformer import Gist, Projection

MARKS = "▁Ġ"
"""with which a token begins that begins a word; in WordPiece ## begins one that does not"""
ALPHABET, LONGEST = 4096, 16
"""rows for letters, which share them by their digest; letters of a token that are read"""
BEGINS = 1
"""the row that stands before the letters of a token with which a word begins"""


class TextTower(nn.Module):
    """Any encoder of transformers, of which `TextConfig.encoder` holds the settings.

    To what it makes of a token is added what one of our own reads, letter by letter, in the place
    of the token. A frozen encoder of one language can so be heard in others, of whose words it
    knows no more than pieces. The tokens of texts of which its tokenizer has hardly a word are of
    their letters only; a gist they have all the same. Raises `ValueError` where texts may be longer
    than it has positions, and for an encoder that does not read embeddings, or sees what is masked.
    """

    def __init__(
        self, config: TextConfig, vocab_size: int, width: int, num_heads: int, gist_dim: int
    ) -> None:
        super().__init__()
        settings = read_settings(config.encoder, vocab_size=vocab_size)
        places = getattr(settings, "max_position_embeddings", math.inf)
        padding, settings.pad_token_id = settings.pad_token_id, PAD
        # Some (ModernBERT) begin a text with a token that no text holds: it has the last row.
        begin = getattr(settings, "cls_token_id", None) or 0
        settings.vocab_size += begin >= vocab_size - len(SPECIAL)
        self.encoder: Any = build_encoder(settings)
        embeddings: Any = getattr(self.encoder, "embeddings", None)
        if hasattr(embeddings, "padding_idx"):  # as in RoBERTa, whose positions begin after it
            embeddings.padding_idx = padding
            places -= padding + 1
        if config.max_tokens >= places:  # one is for the token before a text
            raise ValueError(
                f"model.text.max_tokens must be less than the {places} positions of the pretrained "
                f"encoder, got {config.max_tokens}"
            )
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # of no use here, and would never get a gradient
        hidden = probe(self.encoder, settings.model_type)
        embedded = self.encoder.get_input_embeddings().weight.shape[1]
        self.project = Projection(hidden, width)
        self.unproject = Projection(width, embedded)
        self.gist = Gist(hidden, gist_dim) if gist_dim else None
        own = replace(config, encoder=TextConfig.encoder)
        self.spelling = TextEncoder(own, ALPHABET, width, num_heads)
        self.blank = nn.Parameter(torch.zeros(embedded))
        self.register_buffer("letters", torch.zeros(vocab_size, LONGEST, dtype=torch.int32))
        self.letters: Int[Tensor, "V K"]
        """of each token, `PAD` after them"""
        self.register_buffer("begin", torch.tensor(PAD))
        self.begin: Int[Tensor, ""]
        """the token that the pretrained encoder saw before every text; `PAD` for none"""

    def start(self) -> None:
        """Small embeddings, which move fast: call after the general initialisation."""
        self.spelling.start()

    def learn_letters(self, tokenizer: Tokenizer) -> None:
        """Takes over how the tokens are spelled, without which no text can be read."""
        rows = [[] if t in SPECIAL else spell(t) for t in tokenizer.reader.tokens]
        self.letters.copy_(torch.tensor([row + [PAD] * (LONGEST - len(row)) for row in rows]))

    def start_from(self, name: str, tokenizer: Tokenizer) -> None:
        """Takes over the weights of a pretrained encoder, and the letters of its tokens.

        Our own special tokens have rows before those of its vocabulary; the end is its own.
        """
        self.learn_letters(tokenizer)
        found = encoder_of(fetch(name, "model.text.pretrained")).state_dict()
        mine = self.encoder.state_dict(keep_vars=True)
        table = self.encoder.get_input_embeddings().weight
        words = [key for key, tensor in mine.items() if tensor is table]
        rows, size = found[words[0]], tokenizer.reader.vocab_size
        if len(rows) < size - len(SPECIAL):
            raise ValueError(
                f"model.text.pretrained: {name} must have a row for each of the "
                f"{size - len(SPECIAL)} tokens of its tokenizer, has {len(rows)}"
            )
        whole = table.detach().clone()
        whole[len(SPECIAL) : size] = rows[: size - len(SPECIAL)]  # many have more, to a round size
        theirs = AutoTokenizer.from_pretrained(name)
        if (end := theirs.sep_token_id or theirs.eos_token_id) is not None:
            whole[END] = rows[end]
        if (begin := theirs.cls_token_id) is not None:
            row = min(len(SPECIAL) + begin, len(whole) - 1)
            whole[row] = rows[begin]
            self.begin.fill_(row)
        self.encoder.load_state_dict(
            {key: found[key] for key in mine} | dict.fromkeys(words, whole)
        )

    def forward(self, ids: Int[Tensor, "N L"], blank: Bool[Tensor, "N L"] | None = None) -> Tokens:
        """Tokens of padded ids, in some places of which there may be nothing to see."""
        letters = self.letters[ids].long()
        whole = torch.cat([self.begin.expand(len(ids), 1), ids], 1)
        mask, x = whole != PAD, self.encoder.get_input_embeddings()(whole)
        if blank is not None:
            letters = letters * ~blank[..., None]
            x = torch.where(F.pad(blank, (1, 0))[..., None], self.blank.to(x.dtype), x)

        def encode(x: Tensor, mask: Tensor) -> Tensor:
            return self.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state

        known = self.knows(ids)[:, None]
        x = by_length(encode, x, mask if self.gist else mask & known)  # no more than is asked for
        gist = self.gist and self.gist(Tokens(x, mask).mean()[0])
        x = self.project(x[:, 1:]) * known[..., None]
        return Tokens(x + self._spelled(letters), mask[:, 1:], gist)

    def knows(self, ids: Int[Tensor, "N L"]) -> Bool[Tensor, "N"]:
        """Texts of whose letters more than half are in words that are one token."""
        letters = self.letters[ids]
        size, first = (letters > BEGINS).sum(2), letters[..., 0]
        ends = F.pad(first[:, 1:], (0, 1)) <= BEGINS  # what follows is no more of the word
        return 2 * (size * ((first == BEGINS) & ends)).sum(1) > size.sum(1)

    def guess(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "K V"]:
        """Logits of tokens, by its own table of them (tied, as in arXiv:1608.05859)."""
        return F.linear(self.unproject(x), self.encoder.get_input_embeddings().weight)

    def _spelled(self, letters: Int[Tensor, "N L K"]) -> Float[Tensor, "N L D"]:
        """The mean of what each token's letters are in the whole text; zero where it has none."""
        flat = letters.flatten(1)
        order = (flat == PAD).byte().argsort(dim=1, stable=True)  # letters side by side
        order = order[:, : max(1, int((flat != PAD).sum(1).max()))]
        flat = flat.gather(1, order)
        x = by_length(lambda ids, _: self.spelling(ids).x, flat, flat != PAD).float()
        place = (order // letters.shape[2])[..., None].expand(x.shape)
        x = x * (flat != PAD)[..., None]
        total = x.new_zeros(*letters.shape[:2], x.shape[2]).scatter_add(1, place, x)
        return total / (letters != PAD).sum(2, keepdim=True).clamp(min=1)


class WhisperMel(nn.Module):
    """Waveform at 16 kHz to the log-mel frames of Whisper (arXiv:2212.04356, section 2.2).

    As many as there are in the recording, `limit` at most; not those of silence up to 30 s.
    """

    window, hop = 400, 160
    unit, nothing = 4 * math.log(10), -1.5

    def __init__(self, bands: int, limit: int) -> None:
        super().__init__()
        self.bands, self.limit = bands, limit
        filters = torch.from_numpy(WhisperFeatureExtractor(bands).mel_filters).float()
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("hann", torch.hann_window(self.window), persistent=False)
        self.filters: Float[Tensor, "M K"]
        self.hann: Float[Tensor, "W"]

    def num_frames(self, num_samples: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Frames of a recording: one at each hop, the end left out."""
        return ((num_samples + self.hop - 1) // self.hop).clamp(max=self.limit)

    def silence(
        self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"]
    ) -> Float[Tensor, "N 1 1"]:
        """What each recording has where nothing is to be heard: eight decades below its peak."""
        absent = ~frame_mask(lengths, frames.shape[2])[:, None]
        loudest = frames.masked_fill(absent, -torch.inf).amax((1, 2), keepdim=True)
        return (loudest - 2).clamp(min=self.nothing)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, samples: Int16[Tensor, "N S"] | Float[Tensor, "N S"]) -> Tensor:
        """Frames [N M F] of int16 samples, or of floats in -1 ... 1."""
        if not samples.is_floating_point():
            samples = samples.float() / 32768
        longest = self.limit * self.hop
        count, samples = -(-samples.shape[1] // self.hop), samples[:, :longest]
        # What follows is silent; where Whisper would hear no more, it is reflected as there.
        samples = F.pad(samples, (0, min(self.window // 2, longest - samples.shape[1])))
        spectrum = torch.stft(samples, self.window, self.hop, window=self.hann, return_complex=True)
        return self._scaled(spectrum.abs().square()[..., : self.limit])[..., :count]

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def translate(
        self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"], log_mel: LogMel
    ) -> tuple[Tensor, Int[Tensor, "N"]]:
        """Frames, and how many, that are near what those of another front end would sound like."""
        lengths = self.num_frames(((lengths - 1) * log_mel.hop).clamp(min=1))
        power = log_mel.power_as(frames, self.window, self.hop, int(lengths.max()))
        return self._scaled(power), lengths

    def _scaled(self, power: Float[Tensor, "N K F"]) -> Float[Tensor, "N M F"]:
        decades = (self.filters @ power).clamp(min=1e-10).log10()
        return (torch.maximum(decades, decades.amax((1, 2), keepdim=True) - 8) + 4) / 4


class AudioTower(nn.Module):
    """The encoder of a Whisper, of which `AudioConfig.encoder` holds the settings.

    It reads a recording, where Whisper reads 30 s with the recording at their start: what follows
    the end is seen by nobody, and costs nothing. A full 30 s come out as from Whisper.
    """

    token_frames = 2

    def __init__(self, config: AudioConfig, width: int) -> None:
        super().__init__()
        settings = read_settings(config.encoder)
        if not isinstance(settings, WhisperConfig):
            raise ValueError(f"model.audio.encoder must be a whisper, got {settings.model_type}")
        limit = 2 * settings.max_source_positions
        longest = limit * WhisperMel.hop / 16_000
        if config.sample_rate != 16_000 or config.max_seconds > longest:
            raise ValueError(
                f"a Whisper hears {longest:g} s of 16000 Hz; model.audio has max_seconds "
                f"{config.max_seconds:g} and sample_rate {config.sample_rate}"
            )
        self.hearing = WhisperMel(settings.num_mel_bins, limit)
        self.encoder = WhisperEncoder(settings)
        self.project = Projection(settings.d_model, width)

    def start_from(self, name: str) -> None:
        """Takes over the weights of a pretrained encoder."""
        found = fetch(name, "model.audio.pretrained")
        self.encoder.load_state_dict(found.get_submodule("encoder").state_dict())

    def forward(self, frames: Float[Tensor, "N M F"], lengths: Int[Tensor, "N"]) -> Tokens:
        """Tokens of Whisper's frames; `lengths` are the valid ones of each recording."""
        encoder, count = self.encoder, -(-frames.shape[2] // 2)
        silence = self.hearing.silence(frames, lengths)
        # The convolutions look two frames ahead: beyond each end they find silence.
        x = F.pad(frames, (0, min(2, self.hearing.limit - frames.shape[2])))
        x = torch.where(frame_mask(lengths, x.shape[2])[:, None], x, silence)
        x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(x)))).mT[:, :count]
        x = x + encoder.embed_positions.weight[:count]
        mask = frame_mask((lengths + 1) // 2, count)
        for layer in encoder.layers:
            x = layer(x, mask[:, None, None])
        return Tokens(self.project(encoder.layer_norm(x)), mask)


def read_settings(settings: str, **changes: int) -> PreTrainedConfig:
    """Of an encoder, some of them changed. Raises `ValueError` for what transformers lacks."""
    told = json.loads(settings)
    kind = told.pop("model_type", None)
    told.pop("dtype", None)  # that of the file; weights that learn are in fp32
    read = AutoConfig.for_model(kind, **told | changes)
    for name in vars(read):
        if "dropout" in name and isinstance(getattr(read, name), float):
            setattr(read, name, 0.0)  # it would be drawn anew in a run that goes on
    return read


def fetch(name: str, field: str) -> PreTrainedModel:
    """A pretrained model. Raises `ValueError` where there are no weights as safetensors."""
    try:
        return AutoModel.from_pretrained(name, use_safetensors=True)
    except OSError as error:
        raise ValueError(f"{field}: {name}: {str(error).splitlines()[0]}") from error


def find_settings(name: str, field: str) -> str:
    """Those of a pretrained encoder, as JSON. Raises `ValueError` where there is none."""
    try:
        return json.dumps(AutoConfig.from_pretrained(name).to_diff_dict(), sort_keys=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{field}: {name}: {str(error).splitlines()[0]}") from error


def adopt_tokenizer(name: str) -> Tokenizer:
    """That of a pretrained encoder."""
    fast = AutoTokenizer.from_pretrained(name).backend_tokenizer
    return Tokenizer.adopt(FastTokenizer.from_str(fast.to_str()))


def spell(token: str) -> list[int]:
    """Rows of the alphabet for the letters of a token; `BEGINS` stands before a word."""
    inside = token.startswith("##")
    letters = token[2:] if inside else token.lstrip(MARKS)
    rows = [BEGINS + 1 + crc32(letter.encode()) % (ALPHABET - BEGINS - 1) for letter in letters]
    return (rows if inside else [BEGINS, *rows])[:LONGEST]
