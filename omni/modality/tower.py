"""A text encoder of transformers as it comes, weights and all, beside letters of its tokens.

Letters: N texts, L tokens, V vocabulary, R runs of letters, D width.
"""

import json
from collections.abc import Iterable
from zlib import crc32

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from tokenizers import Tokenizer as FastTokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig

from omni.batch import Tokens
from omni.config import TextConfig
from omni.modality.text import END, PAD, Tokenizer, special_tokens
from omni.nn.transformer import Projection

MARKS = "▁Ġ"
"""with which a token begins that begins a word; in WordPiece ## begins one that does not"""
LONGEST_RUN, RUNS = 4, 24
"""letters of a run, and runs of a token, the shortest first"""


class TextTower(nn.Module):
    """Any encoder of transformers, of which `TextConfig.encoder` holds the settings.

    To what it makes of a token is added what its letters say: rows of a table for runs of up to
    four (as in fastText, arXiv:1607.04606, section 3.2). A frozen encoder of one language can so
    be heard in others, of whose words it knows no more than pieces.
    """

    def __init__(self, config: TextConfig, vocab_size: int, width: int) -> None:
        super().__init__()
        settings = read_settings(config.encoder, vocab_size)
        self.encoder = AutoModel.from_config(settings, attn_implementation="eager")
        if hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None  # of no use here, and would never get a gradient
        hidden = self.encoder.get_input_embeddings().weight.shape[1]
        self.project = Projection(hidden, width)
        self.ngrams = nn.Embedding(config.ngrams, width)
        self.blank = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("runs", torch.zeros(vocab_size, RUNS, dtype=torch.int32))
        self.runs: Int[Tensor, "V R"]
        """rows of the table for each token, 0 for none"""

    def start(self) -> None:
        """Small embeddings, which move fast: call after the general initialisation."""
        nn.init.normal_(self.ngrams.weight, std=0.02)

    def start_from(self, name: str, tokenizer: Tokenizer) -> None:
        """Takes over the weights of a pretrained encoder, and the letters of its tokens.

        Our own special tokens have rows before those of its vocabulary; the end is its own.
        """
        rows = [letter_rows(token, self.ngrams.num_embeddings) for token in tokenizer.tokens]
        self.runs.copy_(torch.tensor([row + [0] * (RUNS - len(row)) for row in rows]))
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
        runs = self.runs[ids]
        if blank is not None:
            x = torch.where(blank[..., None], self.blank.to(x.dtype), x)
            runs = runs * ~blank[..., None]
        x = self.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
        letters = F.embedding_bag(
            runs.flatten(0, 1), self.ngrams.weight, mode="sum", padding_idx=0
        ).view(*ids.shape, -1)
        return Tokens(self.project(x) + letters, mask)


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


def letter_rows(token: str, rows: int) -> list[int]:
    """Rows, from 1 on, for the runs of letters of a token; the first letter of a word is marked."""
    inside = token.startswith("##")
    letters = token[2:] if inside else "^" + token.lstrip(MARKS)
    found = dict.fromkeys(
        letters[start : start + size]
        for size in range(1, LONGEST_RUN + 1)
        for start in range(len(letters) - size + 1)
    )
    return [1 + crc32(run.encode()) % (rows - 1) for run in found][:RUNS]
