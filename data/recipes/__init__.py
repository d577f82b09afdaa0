"""Recipes: how the user's own copy of a well-known data set is read. Nothing is downloaded.

| recipe | `root` holds, in the official layout | licence | reference |
|---|---|---|---|
| audiocaps | `{train,val,test}.csv`, `audio/` | academic use | Kim 2019 |
| clotho | `clotho_captions_*.csv`, folders of sounds | of each sound; captions | Drossos 2020 |
| coco | `annotations/` or `dataset_coco.json`, images | CC BY 4.0; Flickr's | Chen 2015 |
| esc50 | `meta/esc50.csv`, `audio/` | CC BY-NC | Piczak 2015 |
| flickr30k | captions or `dataset_flickr30k.json`, images | research; Flickr's | Young 2014 |
| librispeech | subsets such as `dev-clean/` | CC BY 4.0 | Panayotov 2015 |
| localized_narratives | `*.jsonl`, `voice-recordings/`, images | CC BY 4.0 | Pont-Tuset 2020 |
| muge | the folder of one of three tasks | of its page | Lin 2021 |
| speech_commands | the unpacked archive | CC BY 4.0 | Warden 2018 |
| spokencoco | `SpokenCOCO_*.json`, `wavs/`, images of COCO | of its page | Hsu 2021 |
| stamps | Debian's tuxpaint-stamps-default | GPL-2 and others | Tux Paint |
| vqav2 | questions, annotations, images of COCO | CC BY 4.0; Flickr's | Goyal 2017 |

Licences are those of the annotations, then of the media where they differ; images of COCO and
Flickr30k are under the terms of Flickr and their owners. Each module says exactly what `root`
must hold and what `meta` has. `read(root)` lists samples and decodes none; media that the
annotations name and that are missing are left out, and a warning at the end counts them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from data.recipes import (
    audiocaps,
    clotho,
    coco,
    esc50,
    flickr30k,
    librispeech,
    localized_narratives,
    muge,
    speech_commands,
    spokencoco,
    stamps,
    vqav2,
)
from data.record import Record

RECIPES: dict[str, Callable[[Path], Iterator[Record]]] = {
    "audiocaps": audiocaps.read,
    "clotho": clotho.read,
    "coco": coco.read,
    "esc50": esc50.read,
    "flickr30k": flickr30k.read,
    "librispeech": librispeech.read,
    "localized_narratives": localized_narratives.read,
    "muge": muge.read,
    "speech_commands": speech_commands.read,
    "spokencoco": spokencoco.read,
    "stamps": stamps.read,
    "vqav2": vqav2.read,
}
"""name of a data set -> lists the samples of the copy in a folder"""
