"""Figures: what was measured, drawn. One small figure a question, so that a phone can show it too.

| figure | what it asks | drawn in |
|---|---|---|
| standings | who trains most in a second on the same lanes, everyone who took part | `contest_figure` |
| speed-up against depth | AL's fastest over BP's fastest against ℓ | `speedup_figure` |
| AL over BP | the same over depth × batch size, or depth × width | `heat_map` |
| throughput against batch size | what larger mini-batches gain | `batch_figure` |
| time against depth | milliseconds per mini-batch against ℓ, with fits and bands | `depth_figure` |
| time against instances | seconds against n at the deepest network | `instances_figure` |
| accuracy against depth | time above, accuracy below | `learning_figure` |
| accuracy against seconds | who is first at which accuracy | `curve_figure` |
| memory against depth | what training took at its peak | `memory_figure` |
| speed-up against lanes | what more lanes gain, under the ideal | `lanes_figure` |
| usage over time | cores and GPU while the telling runs went on | `usage_figure` |

Each is drawn only where the records hold data for it. What is drawn comes from findings; a figure works out nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from matplotlib import rc_context

from albench.analysis.sampling import thinned
from albench.report.batch_figure import batch_drawing
from albench.report.contest_figure import standings_drawing
from albench.report.curve_figure import curve_drawing
from albench.report.depth_figure import depth_drawing
from albench.report.drawing import Drawing
from albench.report.findings import Findings
from albench.report.heat_map import size_map_drawing
from albench.report.instances_figure import instances_depth, instances_drawing
from albench.report.lanes_figure import lanes_drawing
from albench.report.learning_figure import learning_drawing
from albench.report.memory_figure import memory_drawing, memory_lines
from albench.report.regimes import Regime, Work
from albench.report.speedup_figure import speedup_drawing
from albench.report.style import STYLE, Look, looks
from albench.report.usage_figure import usage_drawing

T = TypeVar("T")

MOST_OF_A_KIND = 3
"""How many are drawn of those figures that a reader needs a few of to see the point: a page must stay small enough to
be mailed, and quick to make."""


def draw(findings: Findings) -> list[Drawing]:
    """Draw all figures that the findings have data for; a single depth is no figure against depth."""
    everyone = [*findings.sweeps, *[regime for regime in findings.regimes if regime not in findings.sweeps]]
    look = looks(
        [series for regime in everyone for series in regime.everything]
        + [line.series for sweep in findings.batch_sweeps for line in sweep.lines]
    )
    works = {regime.work for regime in findings.regimes} | {contest.work for contest in findings.contests}
    lane_sweeps = [one for one in findings.lane_sweeps if one.work in works]
    usages = [one for one in findings.usages if one.work in works]
    drawings: list[Drawing] = []
    with rc_context(STYLE):
        drawings += [
            standings_drawing(contest, f"standings-{i}")
            for i, contest in enumerate(findings.contests, 1)
            if len(contest.standings) > 1
        ]
        if any(len(regime.comparisons) > 1 for regime in findings.sweeps):
            drawings.append(speedup_drawing(findings.sweeps))
        drawings += _few(findings.size_maps, lambda one, i: [size_map_drawing(one, f"{i}-{one.axis}-al-over-bp")])
        drawings += _few(
            findings.batch_sweeps, lambda one, i: [batch_drawing(one, look, f"{i}-throughput-against-batch-size")]
        )
        for i, regime in enumerate(findings.sweeps, 1):
            drawings += _of_regime(regime, findings, look, i)
        deep = [accuracy for accuracy in findings.other_accuracies if accuracy.depths > 1]
        drawings += [learning_drawing(None, accuracy, f"other-{i}") for i, accuracy in enumerate(deep, 1)]
        drawings += [
            curve_drawing(curves, f"{i}-accuracy-against-seconds")
            for i, accuracy in enumerate(findings.accuracies, 1)
            if (curves := findings.learning_on(accuracy.work))
        ]
        remembered = [
            (i, regime, resources)
            for i, regime in enumerate(findings.sweeps, 1)
            if (resources := findings.resources_of(regime.work)) and memory_lines(resources)[1]
        ]
        drawings += _few(remembered, lambda one, _: [memory_drawing(one[1], one[2], look, _tag(one[0], one[1].work))])
        drawings += _few(
            lane_sweeps, lambda one, i: [lanes_drawing(one, f"{_tag(i, one.work)}-speed-up-against-lanes")]
        )
        drawings += _few(usages, lambda one, i: [usage_drawing(one, f"{_tag(i, one.work)}-usage-over-time")])
    return drawings


def _of_regime(regime: Regime, findings: Findings, look: dict[str, Look], place: int) -> list[Drawing]:
    """Draw time and accuracy of one kind of work."""
    tag = _tag(place, regime.work)
    drawings = []
    if len(regime.depths) > 1:
        drawings.append(depth_drawing(regime, look, tag))
    if depth := instances_depth(regime):
        drawings.append(instances_drawing(regime, depth, look, tag))
    if (accuracy := findings.accuracy_of(regime)) and accuracy.depths > 1:
        drawings.append(learning_drawing(regime, accuracy, tag))
    return drawings


def _tag(place: int, work: Work) -> str:
    """Return the start of a file name."""
    return f"{place}-width-{work.width}-batch-{work.batch_size}"


def _few(found: Sequence[T], drawn: Callable[[T, int], list[Drawing]]) -> list[Drawing]:
    """Draw a few of what was found, evenly spread, the first and the last among them; each says if there is more."""
    places = thinned(range(len(found)), MOST_OF_A_KIND)
    drawings = [drawing for place in places for drawing in drawn(found[place], place + 1)]
    if len(places) == len(found):
        return drawings
    more = f" Drawn for {len(places)} of {len(found)}; the tables hold all the numbers."
    return [dataclasses.replace(drawing, limits=drawing.limits + more) for drawing in drawings]
