"""Text: strings to byte-level tokens, a transformers encoder, and a causal decoder.

Letters: N texts, L tokens, V vocabulary, D width.
"""

import json
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from unicodedata import normalize

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omni.batch import Tokens
from omni.config import TextConfig
from omni.modality.encoder import build_encoder, make_settings, probe
from omni.nn.attention import KeyValue
from omni.nn.position import sequence
from omni.nn.transformer import Block, residual

PAD, END = 0, 1
SPECIAL = ["<pad>", "<end>"]
"""tokens that come first, in the order of their ids; of what is written the languages follow"""
LOWERCASE = {"type": "Lowercase"}
"""the step of normalization that comes first in what is read, and is left out of what is written"""
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))
"""the byte order mark and spaces of no width, which nobody types on purpose"""


def clean_text(text: str) -> str:
    """Return a text by the one rule for training and use.

    Composed Unicode (NFC), without a byte order mark or spaces of no width, without white space
    around it, and with one space where there is any other white space inside. Raises `ValueError`
    for half of a surrogate pair: JSON and names of files can hold one, UTF-8 cannot.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(
            f"a text must be Unicode, got half of a surrogate pair, {half!r}"
        ) from error
    return " ".join(normalize("NFC", text).translate(INVISIBLE).split())


class Tokenizer:
    """Byte-level BPE for any script, or letters, with one token a language that says what to write.

    Every text passes through `clean_text` first.

    Attributes:
        reader: encodes what the text encoder reads. One that is learned reads lower case by the
            same tokens, so that "Red apple" is "red apple", while what is written keeps its
            capitals. A pretrained encoder reads by a tokenizer of its own: what that has no words
            for it has in scraps, from which nobody learns to spell.
    """

    def __init__(self, fast: FastTokenizer, reader: "Tokenizer | None" = None) -> None:
        self.fast, self.reader = fast, reader or self
        # A caption that says "<end>" or "<en>" means these letters, as any others.
        fast.encode_special_tokens = True
        special = fast.get_added_tokens_decoder()
        codes = takewhile(special.__contains__, range(END + 1, fast.get_vocab_size()))
        self.languages = {special[i].content[1:-1]: i for i in codes}

    @staticmethod
    def train(texts: Iterable[str], languages: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn the merges from `texts`; the same texts in the same order give the same tokens.

        They are learned from the texts as they are, which are written, and in lower case, which is
        read. A `vocab_size` of 0 merges nothing: the tokens are the letters of the texts.
        """
        special = [*SPECIAL, *(f"<{language}>" for language in sorted(set(languages)))]
        texts = [form for text in map(clean_text, texts) for form in {text: 0, text.lower(): 0}]
        if not vocab_size:
            return Tokenizer.folding(_spell(texts, special))
        fast = FastTokenizer(models.BPE())
        fast.normalizer = normalizers.Sequence([normalizers.NFC()])
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        fast.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        fast.train_from_iterator(texts, trainer)
        return Tokenizer.folding(fast)

    @staticmethod
    def folding(fast: FastTokenizer) -> "Tokenizer":
        """Return a tokenizer that writes as `fast` does and reads the same in lower case.

        The normalizer of `fast` is a sequence.
        """
        document = json.loads(fast.to_str())
        steps = document["normalizer"]["normalizers"]
        document["normalizer"]["normalizers"] = [LOWERCASE, *steps]
        return Tokenizer(fast, Tokenizer(FastTokenizer.from_str(json.dumps(document))))

    @staticmethod
    def adopt(fast: FastTokenizer) -> "Tokenizer":
        """Another model's tokenizer, its ids moved up by those that come first here.

        What was special in it are plain tokens, which no text holds. Raises `ValueError` for a kind
        of model that has no such list of tokens.
        """
        own, told = SPECIAL, json.loads(fast.to_str())
        vocab = told["model"].get("vocab")
        if not isinstance(vocab, dict | list):
            raise ValueError(f"a tokenizer of type {told['model'].get('type')} cannot be adopted")
        if isinstance(vocab, list):  # Unigram: tokens and their scores
            renamed = [[rename(token, own), score] for token, score in vocab]
            told["model"]["vocab"] = [[token, 0.0] for token in own] + renamed
            told["model"]["unk_id"] = len(own) + (told["model"].get("unk_id") or 0)
        else:
            moved = {rename(token, own): i + len(own) for token, i in vocab.items()}
            told["model"]["vocab"] = {token: i for i, token in enumerate(own)} | moved
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        told["added_tokens"] = [
            {"id": i, "content": token, "special": True, **flags} for i, token in enumerate(own)
        ]
        told |= dict.fromkeys(("post_processor", "truncation", "padding"))
        return Tokenizer(FastTokenizer.from_str(json.dumps(told)))

    @property
    def tokens(self) -> list[str]:
        """What each id stands for, as the tokenizer writes it."""
        vocab = self.fast.get_vocab()
        return sorted(vocab, key=vocab.__getitem__)

    @staticmethod
    def load(path: str | Path) -> "Tokenizer":
        """From the JSON that `save` wrote."""
        return Tokenizer.from_json(Path(path).read_text(encoding="utf-8"))

    @staticmethod
    def from_json(text: str) -> "Tokenizer":
        """Return what `to_json` has written.

        Where its normalization begins with lower case, that is for reading alone.
        """
        document = json.loads(text)
        reader = document.pop("reader", None)
        steps = (document["normalizer"] or {}).get("normalizers") or [{}]
        folds = steps[0] == LOWERCASE
        if folds:
            document["normalizer"]["normalizers"] = steps[1:]
        fast = FastTokenizer.from_str(json.dumps(document))
        if folds:
            return Tokenizer.folding(fast)
        return Tokenizer(fast, reader and Tokenizer(FastTokenizer.from_str(json.dumps(reader))))

    def to_json(self) -> str:
        """Return what `save` writes."""
        if self.folds:
            return self.reader.fast.to_str(pretty=True)
        text = self.fast.to_str(pretty=True)
        if self.reader is self:
            return text
        document = json.loads(text) | {"reader": json.loads(self.reader.to_json())}
        return json.dumps(document, indent=2, ensure_ascii=False)

    @property
    def folds(self) -> bool:
        """Whether the encoder reads lower case by the tokens of what is written."""
        normalizer = json.loads(self.fast.to_str())["normalizer"]
        if self.reader is self or (normalizer or {}).get("type") != "Sequence":
            return False
        return self.reader.fast.to_str() == Tokenizer.folding(self.fast).reader.fast.to_str()

    def save(self, path: str | Path) -> None:
        """Write one JSON file, which the tokenizers library reads unless it has a `reader`.

        The library then encodes what the text encoder reads, in lower case.
        """
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of tokens, at most what was asked for in training."""
        return self.fast.get_vocab_size()

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Return token ids, cut to `max_tokens` with the end token last."""
        ids = self.fast.encode(clean_text(text), add_special_tokens=False).ids
        return [*ids[: max_tokens - 1], END]

    def decode(self, ids: Iterable[int]) -> str:
        """The string up to the end token."""
        kept = []
        for index in ids:
            if index == END:
                break
            kept.append(index)
        return normalize("NFC", self.fast.decode(kept, skip_special_tokens=True)).strip()

    def reread(self, ids: Int[Tensor, "N L"]) -> Int[Tensor, "N M"]:
        """Texts that were written, as the encoder reads them; padded after their ends."""
        if self.reader is self:
            return ids
        rows = [self.reader.encode(self.decode(row), ids.shape[1]) for row in ids.tolist()]
        texts = [torch.tensor(row) for row in rows]
        return pad_sequence(texts, batch_first=True, padding_value=PAD).to(ids.device)

    def language(self, code: str) -> int:
        """The token of a language. Raises `ValueError` for one that was not trained."""
        if code not in self.languages:
            known = ", ".join(self.languages)
            raise ValueError(f"language must be one of {known}; got {code!r}")
        return self.languages[code]


def _spell(texts: Iterable[str], special: list[str]) -> FastTokenizer:
    """Letters, and apart from them the accents that they bear; others are spelled in bytes.

    Of a few thousand recordings nobody learns what pieces of words sound like, and letters are few.
    """
    letters = sorted({letter for text in texts for letter in normalize("NFD", text)})
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    vocab = {token: i for i, token in enumerate(tokens)}
    fast = FastTokenizer(models.BPE(vocab, [], byte_fallback=True))
    fast.normalizer = normalizers.Sequence([normalizers.NFD()])
    fast.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    fast.add_special_tokens(special)
    return fast


def rename(token: str, taken: list[str]) -> str:
    """Another name for a token that would be one of those `taken`."""
    return f"{token}'" if token in taken else token


class TextEncoder(nn.Module):
    """Any encoder that transformers can build from a model type, over tokens and runs of tokens.

    Raises `ValueError` for a type that there is not, or that does not read embeddings (`probe`).

    Each token's embedding is joined by those of the two to four last tokens, hashed into one
    table (as the bytes of BLT, arXiv:2412.09871, section 3.2.1): a word of many tokens then has a
    row of its own, and is learned about as fast as a class by a classifier.
    """

    longest_run = 4

    def __init__(self, config: TextConfig, vocab_size: int, width: int, num_heads: int) -> None:
        super().__init__()
        settings = make_settings(
            config.encoder,
            vocab_size=vocab_size,
            hidden_size=width,
            embedding_size=width,  # of ELECTRA and ALBERT
            num_hidden_layers=config.depth,
            num_attention_heads=num_heads,
            intermediate_size=2 * width,
            pad_token_id=PAD,
            bos_token_id=END,
            eos_token_id=END,
            cls_token_id=END,
            sep_token_id=END,
        )
        # Short sequences: plain attention, as in omni.nn.attention.
        self.encoder = build_encoder(settings)
        probe(self.encoder, config.encoder, config.max_tokens)
        self.ngrams = nn.Embedding(config.ngrams, width)
        self.blank = nn.Parameter(torch.zeros(width))
        self.vocab_size = vocab_size

    def start(self) -> None:
        """Small embeddings, which move fast: call after the general initialisation."""
        for embedding in (self.encoder.get_input_embeddings(), self.ngrams):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids: Int[Tensor, "N L"], blank: Bool[Tensor, "N L"] | None = None) -> Tokens:
        """Tokens of padded ids, in some places of which there may be nothing to see."""
        mask, x = ids != PAD, self.encoder.get_input_embeddings()(ids)
        if blank is not None:
            x = torch.where(blank[..., None], self.blank.to(x.dtype), x)
            ids = ids.masked_fill(blank, self.vocab_size)  # a run with a gap is another run
        x = x + self.ngrams(self._rows(ids)).sum(0)
        return Tokens(self.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state, mask)

    def _rows(self, ids: Int[Tensor, "N L"]) -> Int[Tensor, "R N L"]:
        """Rows of the table for the runs that end at each token."""
        rows, key = [], ids
        for back in range(1, self.longest_run):
            # A congruence modulo a Mersenne prime; 31-bit keys times this stay below 2**63.
            key = (key * 1_000_003 + F.pad(ids, (back, 0))[:, : ids.shape[1]]) % (2**31 - 1)
            rows.append(key % self.ngrams.num_embeddings)
        return torch.stack(rows)


class TextDecoder(nn.Module):
    """Causal transformer with cross-attention to the shared transformer's output for any senses."""

    def __init__(self, config: TextConfig, vocab_size: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, memory_width=width) for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def keys(self, memory: Tokens) -> list[KeyValue]:
        """Keys and values of the memory for each block, to be computed once."""
        return [block.keys(memory.x) for block in self._blocks()]

    def hidden(
        self,
        ids: Int[Tensor, "N L"],
        memory: list[KeyValue],
        memory_mask: Bool[Tensor, "N M"],
        past: list[KeyValue] | None = None,
    ) -> tuple[Float[Tensor, "N L D"], list[KeyValue]]:
        """What `head` turns into logits, and the cache that goes into the next call."""
        start = past[0][0].shape[2] if past else 0
        length = ids.shape[1]
        x = self.embedding(ids)
        x = residual(x + sequence(start + length, x.shape[2], ids.device)[start:])
        causal = torch.ones(length, start + length, dtype=torch.bool, device=ids.device).tril(start)
        cache = []
        for i, block in enumerate(self._blocks()):
            x, keys = block(
                x, causal[None], memory[i], memory_mask[:, None], past[i] if past else None
            )
            cache.append(keys)
        return self.norm(x), cache

    def forward(
        self,
        ids: Int[Tensor, "N L"],
        memory: list[KeyValue],
        memory_mask: Bool[Tensor, "N M"],
        past: list[KeyValue] | None = None,
    ) -> tuple[Float[Tensor, "N L V"], list[KeyValue]]:
        """Logits of the token after each of `ids`, and the cache that goes into the next call."""
        x, cache = self.hidden(ids, memory, memory_mask, past)
        return self.head(x), cache

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
