"""The tokenizer and the decoder's cache."""

import pytest
import torch

from omni.config import TextConfig
from omni.modality.text import END, PAD, TextDecoder, Tokenizer, clean_text

TEXTS = ["red apple", "grüner Apfel", "红苹果", "зелёное яблоко", "👩‍🚀 astronaut"] * 3


@pytest.fixture(scope="module", params=[400, 0], ids=["pieces", "letters"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(TEXTS, ["en", "de", "zh", "ru"], request.param)


@pytest.mark.parametrize("text", [*TEXTS[:5], "नमस्ते", "never seen: ñandú"])
def test_any_script_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, 200)
    assert ids[-1] == END
    assert tokenizer.decode(ids) == text


FORMS = {
    "newline after": "red apple\n",
    "CRLF after": "red apple\r\n",
    "space before": " red apple",
    "spaces and tabs inside": "red \t  apple",
    "no-break space": "red\u00a0apple",
    "ideographic space": "red\u3000apple",
    "byte order mark": "\ufeffred apple",
    "spaces of no width": "red\u200b \u2060apple",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_text_is_the_same_in_every_form(tokenizer: Tokenizer, text: str) -> None:
    assert clean_text(text) == "red apple"
    assert tokenizer.encode(text, 200) == tokenizer.encode("red apple", 200)
    assert tokenizer.reader.encode(text, 200) == tokenizer.reader.encode("red apple", 200)


def test_composed_and_decomposed_letters_are_the_same(tokenizer: Tokenizer) -> None:
    assert clean_text("gru\u0308n") == "grün"
    assert clean_text("👩\u200d🚀") == "👩\u200d🚀", "a joiner is part of an emoji"


@pytest.mark.parametrize("text", ["Red Apple", "RED APPLE", "rED apple"])
def test_capitals_are_written_and_not_read(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.reader.encode(text, 200) == tokenizer.reader.encode("red apple", 200)
    assert tokenizer.encode(text, 200) != tokenizer.encode("red apple", 200)
    assert tokenizer.decode(tokenizer.encode(text, 200)) == text
    assert tokenizer.reader.vocab_size == tokenizer.vocab_size


def test_the_rule_for_capitals_is_stored_with_the_tokenizer(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.encode("Red", 9) == tokenizer.encode("Red", 9)
    assert again.reader.encode("Red", 9) == tokenizer.reader.encode("red", 9)
    # One of a model that was trained with capitals goes on reading them.
    old = Tokenizer(tokenizer.fast)
    loaded = Tokenizer.from_json(old.to_json())
    assert loaded.reader is loaded
    assert loaded.encode("Red", 9) == tokenizer.encode("Red", 9)


def test_a_long_text_is_cut_and_still_ends(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("red apple " * 50, 8)
    assert len(ids) == 8
    assert ids[-1] == END


def test_training_twice_gives_the_same_tokens(tokenizer: Tokenizer) -> None:
    size = 0 if "<0x00>" in tokenizer.tokens else 400
    again = Tokenizer.train(TEXTS, ["ru", "zh", "de", "en"], size)
    assert again.fast.to_str() == tokenizer.fast.to_str()


def test_letters_are_a_token_each_and_accents_another() -> None:
    letters = Tokenizer.train(["grün", "é"], ["de"], 0)
    ids = letters.encode("né grün", 99)
    assert [letters.tokens[i] for i in ids[:-1]] == [
        *"ne",
        "\u0301",
        "<0x20>",
        *"gru",
        "\u0308",
        "n",
    ]
    assert letters.decode(ids) == "né grün"


@pytest.mark.parametrize("text", ["<end>", "<pad>", "<eos>", "a <en> b<zh>", "<de><end>"])
def test_the_name_of_a_special_token_is_text_like_any_other(tmp_path, tokenizer, text) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    for used in (tokenizer, Tokenizer.load(tmp_path / "tokenizer.json")):
        *ids, last = used.encode(text, 200)
        assert last == END
        assert not set(ids) & {PAD, END, *used.languages.values()}
        assert used.decode([*ids, last]) == text


def test_languages_are_those_of_training_whatever_the_texts_hold() -> None:
    tokenizer = Tokenizer.train(["a<=>b c<>d"] * 9, ["en", "de"], 400)
    assert {"<=>", "<>"} & set(tokenizer.fast.get_vocab()), "the control: these became tokens"
    assert [*tokenizer.languages] == ["de", "en"]


def test_an_unknown_language_is_refused_with_those_known(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="de, en, ru, zh; got 'xx'"):
        tokenizer.language("xx")


def test_cached_equals_uncached_and_the_future_is_not_seen() -> None:
    torch.manual_seed(0)
    decoder = TextDecoder(TextConfig(decoder_depth=2), 50, 32, 4)
    memory = torch.randn(3, 5, 32)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 2:] = False
    from omni.batch import Tokens

    keys = decoder.keys(Tokens(memory, mask))
    ids = torch.randint(50, (3, 6))
    whole, _ = decoder(ids, keys, mask)
    past, steps = None, []
    for position in range(6):
        logits, past = decoder(ids[:, position : position + 1], keys, mask, past)
        steps.append(logits)
    # Worst seen: 5e-7.
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=0)
    changed = ids.clone()
    changed[:, 4:] = (ids[:, 4:] + 1) % 50
    torch.testing.assert_close(decoder(changed, keys, mask)[0][:, :4], whole[:, :4])


@pytest.mark.parametrize("text", ["\ud800", "red \udcff apple", "a\udfff"])
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        clean_text(text)
