"""Gantt chart: what each lane of one run really did, and below it, hollow, what it would have done at best.

    lane 0   ▓0▓▓1▓▓2▓ ▓3▓        measured: filled, the colour and the number are the mini-batch's
             ▯0▯▯1▯▯2▯▯3▯         ideal: the median time of each task, replayed without any waiting
    lane 1       ▓0▓ ▓1▓ ▓2▓      …

A run of many mini-batches is shown in parts: where the pipeline fills, a stretch in the middle, and where it drains.
The ideal is ahead by then, so in each part it begins anew with the first task that is shown.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from albench.analysis.bubble import bubble_share, ideal, makespan_seconds
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.style import COLOURS, INK, MUTED, SMALL, STYLE
from albench.report.words import counted, number, percent
from albench.trace import Bar, Span, Trace, bars

STEPS = 14
"""Mini-batches side by side that can still be told apart at the width of a phone."""
AXES_INCHES = WIDTH_INCHES - 0.9
"""About what the axes get of the figure's width."""
NANOSECOND = 1e-9
"""What is drawn of a run whose clock did not move."""
LETTER_INCHES = 0.09
"""Width of a digit of a bar's number."""
LETTERS, TITLE_LETTERS = 66, 50
"""Letters of a line of small print, and of the title, that the width has room for."""
LINE_INCHES, TITLE_INCHES = 0.175, 0.2
"""Height of such a line."""
LIGHT_ON = "#0072B2"
"""The one colour of the bars that is dark enough for white letters."""
MEASURED, IDEAL = (-0.42, 0.14), (0.2, 0.42)
"""Where bars lie in the row of their lane, which reaches from -0.5 to 0.5 downwards."""
LANE_KINDS = {
    "cpu-thread": ("CPU thread", "s"),
    "intra-op-thread": ("lane, all threads share each operator", ""),
    "process": ("process", "es"),
    "gpu": ("GPU", "s"),
    "cuda-stream": ("CUDA stream", "s"),
    "sm-share": ("share of the multiprocessors", "s"),
}
BACKWARD = ("B", "I", "W")
UNITS = {
    "task": "A span is a task.",
    "tick": "Tasks have no spans of their own: a launch is the span, with all tasks that it runs.",
    "step": "A span is a step of back-propagation.",
    "action": "A span is a stage's pass on a microbatch (backward: hatched), or its update (grey).",
}


class Part(NamedTuple):
    """A stretch of time that is shown, in seconds from the first start."""

    name: str
    """Empty where it is the whole run."""
    start: float
    end: float


def gantt(trace: Trace) -> Drawing:
    """Draw a trace over its ideal schedule, with both bubble shares in the caption."""
    best = ideal(trace)
    measured = [_later(bar, -trace.start_seconds) for bar in bars(trace.spans)]
    replayed = bars(best)
    shown = parts_of(trace, max(NANOSECOND, makespan_seconds(trace.spans)))
    if len(shown) == 1:  # an ideal of medians can end after the run
        shown = [shown[0]._replace(end=max(shown[0].end, *(bar.end_seconds for bar in replayed)))]
    caption = caption_of(trace, best)
    title = textwrap.fill(f"{trace.title}: {_lanes(trace)}", TITLE_LETTERS)
    head = "\n".join(_lines([trace.sizes, trace.machine, *([shown[0].name] if shown[0].name else [])]))
    words = "\n".join(_lines(_picture_words(caption)))
    row_inches = min(0.42, max(0.15, 4.5 / (trace.lanes * len(shown))))
    with rc_context({**STYLE, "axes.grid": False, "font.size": SMALL, "text.parse_math": False}):
        panel_inches = trace.lanes * row_inches + 0.45
        small_lines = head.count("\n") + words.count("\n") + 2
        text_inches = 0.45 + TITLE_INCHES * (title.count("\n") + 1) + LINE_INCHES * small_lines
        figure = Figure(figsize=(WIDTH_INCHES, text_inches + len(shown) * panel_inches), layout="constrained")
        panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for axes, part in zip(panels, shown, strict=True):
            _draw_part(axes, part, trace.lanes, measured, replayed, row_inches)
        panels[-1].set_xlabel("milliseconds from the first start")
        figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold")
        panels[0].set_title(head, size=SMALL, weight="normal", loc="left")
        figure.supxlabel(words, x=0.01, ha="left", size=SMALL)
        return drawing_of(
            figure,
            name="gantt",
            title=f"{trace.title}, task by task",
            alt=f"{counted(trace.lanes, 'row')}, one a lane, time from left to right. {caption}",
            reading="Filled: measured; its colour and number are the mini-batch. Hollow, below: the ideal, the median "
            "time of each task replayed without any waiting but what the schedule demands. White between filled bars "
            "is a lane that waits."
            + (" In each part the ideal begins with the first task shown." if len(shown) > 1 else ""),
            limits="One run; another would look a little different. The ideal is computed, not measured, and what "
            "tasks cost each other by running at once is in their median times already. A task that took longer than "
            "its median kept its lane busy, so the measured bubble can be below the ideal.",
            work=None,
        )


def caption_of(trace: Trace, best: Sequence[Span]) -> str:
    """Return both bubble shares and makespans in words, and what a span is. `best`: the ideal spans of the trace."""
    seconds = [makespan_seconds(spans) for spans in (trace.spans, best)]
    measured, least = (number(1e3 * one) for one in seconds)
    longer = "The ideal is the longer: it replays medians, and on average these spans were shorter. "
    return (
        f"Bubble (share of the lanes' time in which nothing runs): measured {percent(bubble_share(trace.spans), 1)}, "
        f"ideal {percent(bubble_share(best), 1)}. First start to last end: measured {measured} ms, ideal {least} ms. "
        f"{longer if measured != least and seconds[0] < seconds[1] else ''}{UNITS[trace.unit]}"
    )


def parts_of(trace: Trace, whole_seconds: float) -> list[Part]:
    """Return which stretches of a run are shown: all of it, or beginning, middle and end of a long one."""
    steps = trace.minibatches + trace.lanes - 1
    wide = max(STEPS, min(trace.lanes + 4, 3 * STEPS))
    if trace.unit == "action":
        steps, wide = max(Counter(span.lane for span in trace.spans).values()), 2 * STEPS
    if steps <= wide + STEPS // 2:
        return [Part("", 0.0, whole_seconds)]
    length = whole_seconds * wide / steps
    if steps <= 3 * wide:
        count = math.ceil(steps / wide)
        edges = [whole_seconds * i / count for i in range(count + 1)]
        return [Part(f"part {i} of {count}", *edge) for i, edge in enumerate(itertools.pairwise(edges), 1)]
    middle = whole_seconds / 2
    return [
        Part("the beginning", 0.0, length),
        Part("the middle", middle - length / 2, middle + length / 2),
        Part("the end", whole_seconds - length, whole_seconds),
    ]


def _draw_part(
    axes: Axes, part: Part, lanes: int, measured: Sequence[Bar], replayed: Sequence[Bar], row_inches: float
) -> None:
    """Draw what lies in one stretch of time."""
    seen = [bar for bar in measured if bar.end_seconds > part.start and bar.start_seconds < part.end]
    shift = _shift(part, seen, replayed)
    best = [_later(bar, shift) for bar in replayed]
    best = [bar for bar in best if bar.end_seconds > part.start and bar.start_seconds < part.end]
    inches = AXES_INCHES / (part.end - part.start)
    backward = [bar for bar in seen if bar.action[:1] in BACKWARD]
    forward = [bar for bar in seen if bar.action[:1] not in BACKWARD]
    for some, place, hatch in ((forward, MEASURED, None), (backward, MEASURED, "/////"), (best, IDEAL, None)):
        axes.add_collection(
            PolyCollection(
                [_corners(bar, place) for bar in some],
                facecolors=[_colour(bar) if place is MEASURED else "none" for bar in some],
                edgecolors="white" if place is MEASURED else INK,
                linewidths=[min(0.6, bar.seconds * inches * 12) for bar in some] or 0.6,  # a bar, not its outline
                hatch=hatch,
            )
        )
    if row_inches >= 0.2:
        _number(axes, part, seen, inches)
    margin = 0.01 * (part.end - part.start)
    axes.set_xlim(1e3 * (part.start - margin * (part.start > 0)), 1e3 * (part.end + margin))
    axes.set_ylim(lanes - 0.45, -0.55)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    every = max(1, math.ceil(0.17 / row_inches), math.ceil(lanes / 32))
    axes.yaxis.set_major_locator(FixedLocator(range(0, lanes, every)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([f"lane {lane}" for lane in range(0, lanes, every)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(part.name, size=SMALL, weight="normal", loc="left")


def _shift(part: Part, seen: Sequence[Bar], replayed: Sequence[Bar]) -> float:
    """Return by how much the ideal is moved so that it begins with the first task of a part, when that was measured."""
    first = next((bar for bar in seen if bar.start_seconds >= part.start), None)
    if first is None or part.start == 0:
        return 0.0
    starts = {(bar.tasks[0], bar.action): bar.start_seconds for bar in replayed if bar.lane == first.lane}
    return first.start_seconds - starts[first.tasks[0], first.action]


def _number(axes: Axes, part: Part, seen: Sequence[Bar], inches: float) -> None:
    """Write the mini-batch into what a lane did on it, where there is room."""
    groups: dict[tuple[int, int, str], list[Bar]] = {}
    for bar in seen:
        groups.setdefault((bar.lane, _minibatch(bar), bar.action), []).append(bar)
    for (lane, minibatch, action), members in groups.items():
        label = action or str(minibatch)
        # The longest of them, unless they lie side by side.
        start, end = members[0].start_seconds, members[-1].end_seconds
        if end - start > 1.5 * sum(bar.seconds for bar in members):
            longest = max(members, key=lambda bar: bar.seconds)
            start, end = longest.start_seconds, longest.end_seconds
        start, end = max(start, part.start), min(end, part.end)
        if (end - start) * inches > LETTER_INCHES * (len(label) + 0.6):
            colour = "white" if _colour(members[0]) == LIGHT_ON else INK
            axes.text(
                500 * (start + end), lane + sum(MEASURED) / 2, label,
                ha="center", va="center_baseline", size=SMALL, color=colour,
            )  # fmt: skip


def _minibatch(bar: Bar) -> int:
    """Return the mini-batch that gives a bar its colour: of several, the newest."""
    return max(k for _, k in bar.tasks)


def _colour(bar: Bar) -> str:
    return MUTED if bar.action == "U" else COLOURS[_minibatch(bar) % len(COLOURS)]


def _later(bar: Bar, seconds: float) -> Bar:
    return bar._replace(start_seconds=bar.start_seconds + seconds, end_seconds=bar.end_seconds + seconds)


def _corners(bar: Bar, place: tuple[float, float]) -> list[tuple[float, float]]:
    left, right = 1e3 * bar.start_seconds, 1e3 * bar.end_seconds
    top, bottom = bar.lane + place[0], bar.lane + place[1]
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _lanes(trace: Trace) -> str:
    noun, plural = LANE_KINDS.get(trace.lane_kind, (f"lane ({trace.lane_kind})", ""))
    return counted(trace.lanes, noun, plural)


def _picture_words(caption: str) -> list[str]:
    """Return the caption for the picture itself, which may be seen without its page, a sentence each."""
    sentences = caption.replace(". ", ".\n").splitlines()
    return [*sentences, "Filled: measured, five colours by turns for the mini-batches.", "Hollow: ideal, computed."]


def _lines(sentences: Sequence[str]) -> list[str]:
    """Return sentences in lines that the picture's width has room for."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, LETTERS)]
