"""LICENSES.md of the emoji corpus: who drew, named and spoke what, and on which terms."""

from pathlib import Path

_TEXT = """\
# Licences of the emoji corpus

Written by `python -m data.emoji` from what each package states in its `info.json`.
The json of every sample names the licence of its picture.

## Pictures

| style | drawn by | licence | package |
|---|---|---|---|
{rows}

All pictures are changed: rendered from SVG, cropped to their ink, scaled to 64 x 64 pixels on
white, and compressed as lossy WebP. Those of a CC BY or MIT set are given under that set's
licence, with this attribution; those of OpenMoji stay under CC BY-SA 4.0, whoever passes them on.
The Apache License 2.0, for Noto, is the LICENSE file at the top of this repository.

## Names and keywords

From emojibase-data {emojibase} (MIT, Copyright (c) 2017-2019 Miles Johnson,
https://github.com/milesj/emojibase), which takes them from Unicode CLDR
(Unicode License v3, Copyright (c) 1991-2025 Unicode, Inc., https://www.unicode.org/license.txt).

## Speech

Synthetic: no person was recorded. Made with {espeak}
(https://github.com/espeak-ng/espeak-ng), whose own licence (GPL-3.0-or-later) does not extend to
what it says, and encoded by {opusenc}.
The recordings are given under the Apache License 2.0, as this repository is.

## MIT License

For emojibase-data, Copyright (c) 2017-2019 Miles Johnson, and for Fluent Emoji,
Copyright (c) Microsoft Corporation:

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write_licences(
    path: Path, info: dict[str, dict], versions: dict[str, str], tools: dict[str, str]
) -> None:
    """Write the attributions.

    `info` is each style's info.json, `versions` that of each npm package, `tools` the version
    line of espeak-ng and opusenc.
    """
    rows = []
    for style, about in info.items():
        author, licence = about["author"], about["license"]
        package = f"@iconify-json/{style}"
        rows.append(
            f"| {style} | {about['name']}, by [{author['name']}]({author['url']}) "
            f"| [{licence['title']}]({licence['url']}) | {package} {versions[package]} |"
        )
    text = _TEXT.format(
        rows="\n".join(rows),
        emojibase=versions["emojibase-data"],
        espeak=tools["espeak-ng"],
        opusenc=tools["opusenc"],
    )
    path.write_text(text, encoding="utf-8")
