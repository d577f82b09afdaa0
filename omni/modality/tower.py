"""A text encoder of transformers as it comes, weights and all, and another that spells.

Letters: N texts, L tokens, V vocabulary, K letters of a token, S letters of a text, D width.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from zlib import crc32

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer as FastTokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig

from omni.batch import Tokens
from omni.config import TextConfig
from omni.modality.text import END, PAD, TextEncoder, Tokenizer, special_tokens
from omni.nn.transformer import Projection

MARKS = "▁Ġ"
"""with which a token begins that begins a word; in WordPiece ## begins one that does not"""
ALPHABET, LONGEST = 4096, 16
"""rows for letters, which share them by their digest; letters of a token that are read"""


class TextTower(nn.Module):
    """Any encoder of transformers, of which `TextConfig.encoder` holds the settings.

    To what it makes of a token is added what one of our own reads, letter by letter, in the place
    of the token. A frozen encoder of one language can so be heard in others, of whose words it
    knows no more than pieces.
    """

    def __init__(self, config: TextConfig, vocab_size: int, width: int, num_heads: int) -> None:
        super().__init__()
        settings = read_settings(config.encoder, vocab_size)
        self.encoder = AutoModel.from_config(settings, attn_implementation="eager")
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # of no use here, and would never get a gradient
        hidden = self.encoder.get_input_embeddings().weight.shape[1]
        self.project = Projection(hidden, width)
        own = replace(config, encoder=TextConfig.encoder)
        self.spelling = TextEncoder(own, ALPHABET, width, num_heads)
        self.blank = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("letters", torch.zeros(vocab_size, LONGEST, dtype=torch.int32))
        self.letters: Int[Tensor, "V K"]
        """of each token, `PAD` after them"""

    def start(self) -> None:
        """Small embeddings, which move fast: call after the general initialisation."""
        self.spelling.start()

    def learn_letters(self, tokenizer: Tokenizer) -> None:
        """Takes over how the tokens are spelled, without which no text can be read."""
        rows = [spell(token) for token in tokenizer.tokens]
        self.letters.copy_(torch.tensor([row + [PAD] * (LONGEST - len(row)) for row in rows]))

    def start_from(self, name: str, tokenizer: Tokenizer) -> None:
        """Takes over the weights of a pretrained encoder, and the letters of its tokens.

        Our own special tokens have rows before those of its vocabulary; the end is its own.
        """
        self.learn_letters(tokenizer)
        found = AutoModel.from_pretrained(name, use_safetensors=True).state_dict()
        table = self.encoder.get_input_embeddings().weight
        (words,) = (key for key, p in self.encoder.named_parameters() if p is table)
        whole = table.detach().clone()
        whole[len(special_tokens(tokenizer.languages)) :] = found[words]
        theirs = AutoTokenizer.from_pretrained(name)
        if (end := theirs.sep_token_id or theirs.eos_token_id) is not None:
            whole[END] = found[words][end]
        mine = {key: found[key] for key in self.encoder.state_dict()}
        self.encoder.load_state_dict(mine | {words: whole})

    def forward(self, ids: Int[Tensor, "N L"], blank: Bool[Tensor, "N L"] | None = None) -> Tokens:
        """Tokens of padded ids, in some places of which there may be nothing to see."""
        mask, x = ids != PAD, self.encoder.get_input_embeddings()(ids)
        letters = self.letters[ids].long()
        if blank is not None:
            x = torch.where(blank[..., None], self.blank.to(x.dtype), x)
            letters = letters * ~blank[..., None]
        x = self.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
        return Tokens(self.project(x) + self._spelled(letters), mask)

    def _spelled(self, letters: Int[Tensor, "N L K"]) -> Float[Tensor, "N L D"]:
        """The mean of what each token's letters are in the whole text; zero where it has none."""
        flat = letters.flatten(1)
        order = (flat == PAD).byte().argsort(dim=1, stable=True)  # letters side by side
        order = order[:, : int((flat != PAD).sum(1).max())]
        read = self.spelling(flat.gather(1, order))
        place = (order // letters.shape[2])[..., None].expand(read.x.shape)
        x = read.x.float() * read.mask[..., None]
        total = x.new_zeros(*letters.shape[:2], x.shape[2]).scatter_add(1, place, x)
        return total / (letters != PAD).sum(2, keepdim=True).clamp(min=1)


def read_settings(settings: str, vocab_size: int) -> PreTrainedConfig:
    """Of an encoder for so many tokens. Raises `ValueError` for what transformers does not know."""
    told = json.loads(settings)
    kind = told.pop("model_type", None)
    read = AutoConfig.for_model(kind, **told | {"vocab_size": vocab_size, "pad_token_id": PAD})
    for name in vars(read):
        if "dropout" in name and isinstance(getattr(read, name), float):
            setattr(read, name, 0.0)  # it would be drawn anew in a run that goes on
    return read


def find_settings(name: str) -> str:
    """Those of a pretrained encoder, as JSON. Raises `ValueError` where there is none."""
    try:
        return json.dumps(AutoConfig.from_pretrained(name).to_diff_dict(), sort_keys=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"model.text.pretrained: {name}: {reason}") from error


def adopt_tokenizer(name: str, languages: Iterable[str]) -> Tokenizer:
    """That of a pretrained encoder, for the decoder too."""
    fast = AutoTokenizer.from_pretrained(name).backend_tokenizer
    return Tokenizer.adopt(FastTokenizer.from_str(fast.to_str()), languages)


def spell(token: str) -> list[int]:
    """Rows of the alphabet for the letters of a token; a mark stands before a word."""
    letters = token[2:] if token.startswith("##") else "^" + token.lstrip(MARKS)
    return [1 + crc32(letter.encode()) % (ALPHABET - 1) for letter in letters[:LONGEST]]
