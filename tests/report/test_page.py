"""The page: well-formed, self-contained, escaped, and saying what the findings say."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from albench.errors import UsageError
from albench.report import find, render, terminal_tables
from albench.report.answers import answers, headline, series_sentence
from albench.report.findings import Findings
from albench.report.summary import summary_tables
from albench.report.words import number

from . import made_up
from .conftest import COMMAND, HOSTILE

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """What a browser would find: unbalanced tags, ids, the addresses it would load, the words it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="session")
def page(rendered: Path) -> str:
    return (rendered / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def outline(page: str) -> Outline:
    return Outline(page)


def plain(text: str) -> str:
    return " ".join(text.split())


def test_it_is_well_formed(outline: Outline) -> None:
    assert outline.faults == []
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    named = [values[name] for _, values in outline.tags for name in ("aria-labelledby",) if values.get(name)]
    assert named
    assert set(named) <= set(outline.ids)


def test_it_loads_nothing_from_anywhere(page: str, outline: Outline) -> None:
    for tag, values in outline.tags:
        assert tag not in ("iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in values)
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert re.match(r"#|data:", values.get(name) or "#"), (tag, values)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_its_one_script_is_let_by_its_hash_and_nothing_else(page: str, outline: Outline) -> None:
    assert [values for tag, values in outline.tags if tag == "script"] == [{}]
    script = page[page.index("<script>") + len("<script>") : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [values["content"] for _, values in outline.tags if values.get("http-equiv")]
    assert f"script-src 'sha256-{digest}'; " in str(policy)
    assert "fetch" not in script
    assert "http" not in script


def test_numbers_are_there_for_a_script_to_sort_by(outline: Outline, findings: Findings) -> None:
    values = {values["data-value"] for _, values in outline.tags if "data-value" in values}
    for regime in findings.regimes:
        for series in regime.everything:
            for point in series.points:
                assert f"{point.seconds.estimate:.9g}" in values
    assert not any(value is None or math.isnan(float(value)) for value in values)


def test_every_figure_has_words_and_every_table_a_caption(outline: Outline) -> None:
    pictures = [values for tag, values in outline.tags if tag == "img"]
    assert len(pictures) == 9
    assert all(len(values.get("alt") or "") > 60 for values in pictures)
    assert all((values.get("src") or "").startswith("data:image/svg+xml;base64,") for values in pictures)
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("caption") == tags.count("table") > 10
    assert all(values.get("scope") in ("row", "col") for tag, values in outline.tags if tag == "th")
    assert [values.get("lang") for tag, values in outline.tags if tag == "html"] == ["en"]


def test_hostile_text_is_shown_and_not_run(page: str, outline: Outline) -> None:
    assert page.count("<script") == 1
    assert "<script>alert" not in page
    assert plain(HOSTILE) in outline.text
    assert html.escape("reports/quick <start>") in page
    assert COMMAND in outline.text
    assert "Made up <title>" in outline.text


def test_words_and_numbers_are_those_of_the_findings(outline: Outline, findings: Findings) -> None:
    assert plain(headline(findings)) in outline.text
    for answer in answers(findings):
        for words in (answer.title, answer.word, *answer.sentences):
            assert plain(words) in outline.text
    for regime in findings.regimes:
        for series in regime.everything:
            for depth in series.depths:
                point = series.shown(depth, regime.minibatches)
                assert point is not None
                assert plain(number(point.milliseconds.estimate)) in outline.text
            assert all(plain(reason) in outline.text for reason in series.verdict.reasons)
    large = findings.regimes[1]
    assert all(plain(series_sentence(large, series)) in outline.text for series in large.everything)


def test_it_explains_itself(outline: Outline) -> None:
    for words in (
        "With K lanes, time is flat until ℓ/2 = K and grows after",
        "AL on lanes of its own is full at ℓ = 4 with 2 lanes",
        "calculated, not measured",
        "AL learns badly",
        "3 components on 3 lanes train on 5 mini-batches in 7 ticks; one after the other it would be 15",
    ):
        assert words in outline.text


def test_projected_rows_are_set_apart(outline: Outline, findings: Findings) -> None:
    rows = [values for tag, values in outline.tags if tag == "tr" and values.get("class") == "projected"]
    assert len(rows) >= 4 * sum(len(regime.projected) for regime in findings.regimes)


def test_the_same_records_give_the_same_files(rendered: Path, tmp_path: Path) -> None:
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16, depths=(2, 8, 32), rounds=2)
    first = render(records, tmp_path / "a", command=COMMAND)
    second = render(records, tmp_path / "b", command=COMMAND)
    assert first.read_bytes() == second.read_bytes()
    assert "albench made-up" in first.read_text(encoding="utf-8")
    assert not list(rendered.rglob(".*"))  # no temporary file is left


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (made_up.sweep({("al", "fused", 1): made_up.pipeline(0.4, 0.001, 0.1)}, width=8, batch_size=4), "BP was not"),
        (made_up.sweep(made_up.SMALL, width=8, batch_size=4, lengths=(20,), rounds=1), "Not decided"),
        (made_up.sweep(made_up.SMALL, width=8, batch_size=4, depths=(2,), lengths=(20,), rounds=1), "Not decided"),
        (
            made_up.trained({"al": {2: 0.9, 4: 0.8}}),
            "Deep AL learns badly: at ℓ = 4 it reaches 80.0 %",
        ),
        (made_up.trained({"bp": {2: 0.9, 4: 0.8}}), "No answer: AL was not trained."),
        ([made_up.failed(HOSTILE)], "No answer: no time was measured."),
    ],
    ids=["no BP", "one n", "one point", "only accuracy", "only BP's accuracy", "only failures"],
)
def test_thin_records_make_a_page_too(records: list[made_up.Record], says: str, tmp_path: Path) -> None:
    outline = Outline(render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert outline.faults == []
    assert says in outline.text
    assert "nan" not in outline.text.lower().split()


def test_a_page_of_the_harness_alone_asks_no_question_of_depth(tmp_path: Path) -> None:
    idle = [made_up.record(made_up.IDLE, seconds=6e-6 * (1 + i / 100), round=i) for i in range(8)]
    text = Outline(render(idle, tmp_path, command=COMMAND).read_text(encoding="utf-8")).text
    assert "What does measuring cost, where there is nothing to measure?" in text
    assert "stop growing with its depth" not in text
    assert "Is the comparison fair" not in text
    assert "Why time is flat" not in text


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_line_of_trust_names_what_the_times_are_of(tmp_path: Path, device: str) -> None:
    gpus = [{"name": "Made-up GPU", "driver": "1"}, {"name": "Made-up GPU", "driver": "1"}]
    scenario = dataclasses.replace(made_up.IDLE, method="bp", device=device)
    record = made_up.record(scenario, seconds=1.0, environment=made_up.ENVIRONMENT | {"gpus": gpus})
    text = Outline(render([record], tmp_path, command=COMMAND).read_text(encoding="utf-8")).text
    assert ("GPU: 2 × Made-up GPU; processor: Made-up CPU" in text) == (device == "cuda")
    assert "processor: Made-up CPU" in text


def test_no_record_and_no_place_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no measured record in"):
        render([], tmp_path, command=COMMAND)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        render([made_up.failed()], blocked / "report", command=COMMAND)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_closed_is_a_usage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        render([made_up.failed()], tmp_path, command=COMMAND)


def test_the_terminal_prints_the_same_cells(findings: Findings) -> None:
    console = Console(width=300, record=True, file=open(os.devnull, "w"), color_system=None)  # noqa: SIM115, PTH123
    with console.file:
        for table in terminal_tables(findings):
            console.print(table)
    text = plain(console.export_text())
    for table in summary_tables(findings):
        assert all(plain(cell.text) in text for row in table.rows for cell in row.cells)


def test_the_terminal_reads_no_markup_in_reasons() -> None:
    (table,) = terminal_tables(find([made_up.failed("[red]why[/red] [/]")]))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    assert "[red]why[/red] [/]" in capture.get()
