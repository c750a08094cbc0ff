"""Pair page: two runs side by side as one self-contained page, and its twin in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from albench.harness.records import FILE_NAME
from albench.report.answers import headline
from albench.report.drawing import Drawing
from albench.report.files import figure_files, write_files
from albench.report.origin import origin_sentence, trust_sentence
from albench.report.pair_figures import pair_drawings
from albench.report.side_by_side import (
    Side,
    SideBySide,
    accuracies_beside,
    environments_beside,
    machine_words,
    mean_words,
    not_compared,
    pair_headline,
    pair_tables,
    surroundings,
    times_beside,
    verdicts_beside,
)
from albench.report.tables import markdown, markdown_text
from albench.report.templating import rendered
from albench.report.words import counted, listed


def pair_directory(before: Path, after: Path) -> Path:
    """Return where the page of two runs goes unless it is told: beside B's directory, named after both."""
    places = [path.parent if path.name == FILE_NAME else path for path in (before.resolve(), after.resolve())]
    return places[1].parent / f"{_name(places[0])}-beside-{_name(places[1])}"


def _name(place: Path) -> str:
    return place.name.removesuffix(".json")


def write_pair(both: SideBySide, out: Path, *, command: str) -> Path:
    """Write ``index.html``, ``summary.md`` and ``figures/`` into the directory `out`; return the path of the page.

    A directory that cannot be written is a `UsageError`.
    """
    drawings = pair_drawings(both)
    files: dict[str, bytes | str] = {**figure_files(drawings)}
    files["summary.md"] = pair_markdown(both, drawings, command=command)
    files["index.html"] = pair_html(both, drawings, command=command)
    write_files(out, files)
    return out / "index.html"


def pair_html(both: SideBySide, drawings: Sequence[Drawing], *, command: str) -> str:
    """Return the page."""
    return rendered(
        "pair.html.j2",
        title=_title(both),
        both=both,
        summary=pair_headline(both),
        mean=mean_words(both),
        machines=machine_words(both),
        comparable=both.comparable,
        surroundings=surroundings(both),
        sides=[
            {
                "name": side.name,
                "source": side.source,
                "headline": headline(side.findings),
                "trust": trust_sentence(side.findings),
                "origin": origin_sentence(side.findings),
                "commands": side.commands,
                "repeat": _repeat_words(side),
            }
            for side in both.sides
        ],
        verdicts=verdicts_beside(both),
        times=times_beside(both),
        figures=drawings,
        unpaired=not_compared(both),
        accuracies=accuracies_beside(both),
        environments=environments_beside(both),
        command=command,
        records_words=" and ".join(counted(side.findings.records, "record") for side in both.sides),
    )


def pair_markdown(both: SideBySide, drawings: Sequence[Drawing], *, command: str) -> str:
    """Return the same in Markdown."""
    lines = [f"# {markdown_text(_title(both))}", "", f"**{markdown_text(pair_headline(both))}**", ""]
    lines += [f"{markdown_text(words)}\n" for words in (machine_words(both), mean_words(both)) if words]
    for side in both.sides:
        lines += [f"- {side.name}, {markdown_text(side.source)}: {markdown_text(headline(side.findings))}"]
        lines += [f"  {markdown_text(trust_sentence(side.findings))} {markdown_text(origin_sentence(side.findings))}"]
    lines += ["", *map(markdown, pair_tables(both))]
    for drawing in drawings:
        lines += [f"![{markdown_text(drawing.alt)}](figures/{drawing.name}.png)", ""]
        lines += [markdown_text(f"{drawing.reading} {drawing.limits}"), ""]
    lines += ["## Reproduce", ""]
    for words, commands in [
        *[(markdown_text(f"{side.name}: {_repeat_words(side)}"), side.commands) for side in both.sides],
        ("This page:", (command,)),
    ]:
        code = "\n".join(commands)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
        lines += [words, "", fence, code, fence, ""]
    return "\n".join(lines)


def _repeat_words(side: Side) -> str:
    """Say what the commands that repeat a run leave out."""
    words = "as far as its records know; options that changed what its suites hold are not among them."
    if side.own_suites:
        words += f" A suite of its own ({listed(side.own_suites)}) is a file: give the command where that lies."
    return words


def _title(both: SideBySide) -> str:
    return f"albench: {both.before.source} and {both.after.source} side by side"
