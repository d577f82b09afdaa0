"""Every spelling of base64 and of a data URL holds the same bytes."""

import base64
import textwrap

import pytest

from omni.pipeline.data_url import decode_base64, decode_url

DATA = bytes(range(256)) + b"\xfb\xff\xbe"  # with + and / in its base64
PLAIN = base64.b64encode(DATA).decode()
SAFE = base64.urlsafe_b64encode(DATA).decode()
ODD = base64.b64encode(DATA + b"x").decode()  # ends in ==

SPELLINGS = {
    "plain": PLAIN,
    "url-safe": SAFE,
    "wrapped as MIME": base64.encodebytes(DATA).decode(),
    "wrapped with CRLF": "\r\n".join(textwrap.wrap(PLAIN, 64)),
    "spaces and tabs": " \t".join(textwrap.wrap(PLAIN, 10)),
    "a line break after it": PLAIN + "\n",
    "percent-encoded": PLAIN.replace("+", "%2B").replace("/", "%2f"),
}
HEADS = (
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "DATA:IMAGE/PNG;BASE64,",
    "Data:Image/Jpeg;Base64,",
    "data:image/jpeg;charset=utf-8;base64,",
    "data:audio/wav;codecs=1;rate=16000;base64,",
    "data:image/png; base64 ,",
    "data:application/octet-stream;base64,",
    "data:;base64,",
    " data:image/png;base64,",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_hold_the_same_bytes(spelling: str) -> None:
    text = SPELLINGS[spelling]
    assert decode_base64(text) == DATA
    assert decode_base64(f"data:audio/wav;base64,{text}") == DATA
    for head in HEADS:
        assert decode_url(head + text) == DATA


@pytest.mark.parametrize("count", range(4))
def test_padding_may_be_left_out_or_be_too_much(count: int) -> None:
    for data in (DATA, DATA[:-1], DATA[:-2]):
        bare = base64.b64encode(data).decode().rstrip("=")
        assert decode_base64(bare + "=" * count) == data


def test_nothing_holds_nothing() -> None:
    assert decode_base64("") == decode_url("data:image/png;base64,") == b""


@pytest.mark.parametrize("text", ["!", "YQ==YQ==", "a", "YWJjZ", "ä", "YQ\0==", "a.b/c", "%z", "%"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    for call in (decode_base64, lambda text: decode_url(f"data:image/png;base64,{text}")):
        with pytest.raises(ValueError, match="must be base64, got"):
            call(text)


@pytest.mark.parametrize(
    "url",
    [
        "", "data:", "data:image/png,abc", "data:image/png;base64", "http://example.org/a.png",
        "https://example.org/;base64,YQ==", "file:///etc/passwd", "/proc/self/environ", PLAIN,
        "x data:image/png;base64,YQ==",
    ],
)  # fmt: skip
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be a data URL, data:TYPE;base64"):
        decode_url(url)


def test_a_long_text_without_an_end_costs_little() -> None:
    for text in ("data:" + ";" * 4_000_000, "data:" + "; base64" * 500_000, " " * 4_000_000):
        with pytest.raises(ValueError, match="must be a data URL"):
            decode_url(text)
