"""Embedding figure: the same numbers give the same picture, and what it says of itself is true."""

import numpy as np
import pytest

from albench.errors import UsageError
from albench.report import embedding
from albench.report.embedding import Panel, chosen, embed, embedding_drawing, neighbour_share


def blobs(n=60, d=6, classes=3, *, apart=20.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[labels], labels


def test_what_is_chosen_depends_on_the_seed_alone_and_each_comes_once():
    first = chosen(100, 20, seed=3)
    assert first.tolist() == chosen(100, 20, seed=3).tolist() == sorted(set(first.tolist()))
    assert first.tolist() != chosen(100, 20, seed=4).tolist()
    assert 0 <= first.min() <= first.max() < 100
    assert chosen(30, 5000, seed=0).tolist() == list(range(30))
    with pytest.raises(UsageError, match="3 instances cannot be drawn"):
        chosen(100, 3, seed=0)


def test_an_embedding_is_repeatable_and_keeps_apart_what_is_apart():
    x, labels = blobs()
    points = embed(x, seed=1)
    assert points.shape == (60, 2)
    assert np.array_equal(points, embed(x, seed=1))
    assert neighbour_share(points, labels) == 1.0
    assert neighbour_share(points, np.arange(60)) == 0.0, "no neighbour is the instance itself"


def test_wide_features_are_reduced_and_narrow_ones_are_drawn_too(monkeypatch):
    given = []

    class Keeps:
        def __init__(self, *arguments, **options):
            self.options = options

        def fit_transform(self, x):
            given.append((x.shape, self.options["perplexity"], self.options["init"]))
            return x[:, :2]

    monkeypatch.setattr(embedding, "TSNE", Keeps)
    rng = np.random.default_rng(0)
    for shape in [(120, 200), (40, 200), (120, 7), (31, 1)]:
        assert embed(rng.normal(size=shape), seed=0).shape == (shape[0], 2)
    assert given == [((120, 50), 30, "pca"), ((40, 200), 13, "pca"), ((120, 7), 30, "pca"), ((31, 2), 10, "pca")]


def drawn(rows, labels, **changes):
    return embedding_drawing(
        rows, labels, **{"name": "figure-5", "title": "Digits", "total": 1000, "seed": 7} | changes
    )


def test_a_figure_says_what_each_panel_shows_and_how_it_was_made(monkeypatch):
    embedded = []
    monkeypatch.setattr(embedding, "embed", lambda x, seed: embedded.append(seed) or np.asarray(x)[:, :2])
    x, labels = blobs()
    mixed = np.random.default_rng(2).normal(size=(60, 4))
    raw = Panel(title="raw data", features=x)
    rows = {"BP": [raw, Panel(title="output", features=mixed)], "AL": [raw, Panel(title="output", features=x + 1)]}
    drawing = drawn(rows, labels)
    share = f"{100 * neighbour_share(mixed[:, :2], labels):.0f} %"
    assert embedded == [7, 7, 7], "the raw data once"
    assert f"BP 100 % in raw data, {share} in output; AL 100 % in raw data, 100 % in output." in drawing.alt
    assert "60 instances of 3 classes" in drawing.alt
    assert "60 instances of 1\N{NARROW NO-BREAK SPACE}000 instances are drawn, chosen with seed 7" in drawing.limits
    assert "Perplexity 19.6667" in drawing.limits
    assert drawing.name == "figure-5"
    assert b"<image" in drawing.svg, "marks are pixels"
    assert drawn(rows, labels).svg == drawing.svg
    assert "All 60 instances are drawn" in drawn(rows, labels, total=60).limits


def test_what_an_eye_cannot_tell_apart_or_does_not_match_is_refused():
    x, labels = blobs()
    with pytest.raises(UsageError, match="60 classes are more than 25"):
        drawn({"AL": [Panel(title="output", features=x)]}, np.arange(60))
    for rows in [
        {"AL": [Panel(title="output", features=x[:-1])]},
        {"AL": [Panel(title="output", features=x)], "BP": []},
        {},
    ]:
        with pytest.raises(UsageError, match="panels do not match"):
            drawn(rows, labels)


def test_features_that_cannot_be_placed_are_refused():
    x, _ = blobs()
    with pytest.raises(UsageError, match=r"shape \(5, 6\)"):
        embed(x[:5], seed=0)
    with pytest.raises(UsageError, match=r"shape \(60,\)"):
        embed(x[:, 0], seed=0)
    x[3, 2] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        embed(x, seed=0)


def test_every_class_has_a_mark_of_its_own():
    marks = [tuple(embedding._mark(place).values()) for place in range(embedding.MOST_CLASSES)]
    assert len(set(marks)) == len(marks) == 25
