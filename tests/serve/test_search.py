"""The index over HTTP: found, added, deleted, given out."""

from pathlib import Path

import numpy as np
import pytest

from omni.interface import Omni
from omni.items import read
from omni.search import Index


def test_hits_are_those_of_the_index(
    service, tiny_model: Omni, index: Path, things: Path, png: str
) -> None:
    got = service.client.post("/v1/search", json={"image": png, "k": 3, "senses": ["text"]}).json()
    vector = tiny_model.embed(read(things / "thing-0.png")).numpy()
    (expected,) = Index.open(index).search(vector, 3, ["text"])
    assert [hit["id"] for hit in got["hits"]] == [hit.id for hit in expected]
    assert np.allclose([h["score"] for h in got["hits"]], [h.score for h in expected], atol=1e-5)
    assert str(things) not in str(got) and got["hits"][0]["name"].startswith("thing-")


def test_hits_are_looked_at_again(service, tiny_model: Omni, things: Path, png: str) -> None:
    got = service.client.post("/v1/search", json={"image": png, "k": 4, "rerank": 4}).json()
    plain = service.client.post("/v1/search", json={"image": png, "k": 4}).json()
    texts = [hit["meta"]["text"] for hit in plain["hits"]]
    expected = tiny_model.retrieve(read(things / "thing-0.png"), texts, 4, rerank=4)
    assert got["hits"][0]["meta"]["text"] == texts[expected[0][0]]
    spoken = service.client.post("/v1/search", json={"text": texts[0], "k": 4, "rerank": 4})
    assert spoken.json()["hits"][0]["meta"]["text"] == texts[0]


def test_what_is_added_is_found_by_its_metadata_until_it_is_deleted(service, wav: str) -> None:
    told = {"name": "mine", "text": "hallo", "audio": wav, "meta": {"owner": "me", "year": 2}}
    added = service.client.post("/v1/index", json=told)
    assert added.status_code == 201
    where = {"where": {"owner": "me", "year": 2}}
    (hit,) = service.client.post("/v1/search", json={"text": "hallo", **where}).json()["hits"]
    assert hit["id"] == added.json()["id"] and hit["score"] == pytest.approx(1, abs=1e-4)
    assert service.client.get(f"/v1/items/{hit['id']}/text").text == "hallo"
    assert service.client.get(f"/v1/items/{hit['id']}/audio").status_code == 404
    assert service.client.delete(f"/v1/index/{hit['id']}").status_code == 204
    assert service.client.delete(f"/v1/index/{hit['id']}").status_code == 404
    assert service.client.post("/v1/search", json={"text": "a", **where}).json() == {"hits": []}


def test_a_thing_is_given_out_as_it_is_and_nothing_from_elsewhere(
    service, index: Path, things: Path
) -> None:
    got = service.client.get("/v1/items/1/image")
    assert got.content == (things / "thing-0.png").read_bytes()
    assert got.headers["content-type"] == "image/png"
    opened = Index.open(index)
    link = things / "link.png"
    link.symlink_to("/etc/passwd")
    for place in ("/etc/passwd", str(things / ".." / ".." / "x.png"), str(link), str(things)):
        with opened.catalogue.change():
            opened.catalogue.put("outside", {"image": place}, {})
        id = opened.catalogue.id_of("outside")
        assert service.client.get(f"/v1/items/{id}/image").status_code == 404
    opened.delete(["outside"])
    link.unlink()


def test_nobody_says_where_a_thing_is(service) -> None:
    told = {"name": "x", "text": "x", "meta": {"image": "/etc/passwd"}}
    got = service.client.post("/v1/index", json=told)
    assert got.status_code == 422 and "meta must not hold image" in got.text
