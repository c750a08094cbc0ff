"""Bubble: what of the lanes' time is left empty, as measured and as it would be at best.

The *ideal* replays what was measured without any waiting but what the schedule itself demands: every task takes the
median time of its component, starts when its lane is free and the task before has handed on, and nothing else costs
time. Two components on two lanes, the second of which takes longer; a point is a lane that waits:

    lane 0    |0|1|2|3|. . . . .
    lane 1    . |0 |1 |2 |3 |

What is left empty then is the fill, the drain and lanes of unequal work. What the measured run leaves empty beyond that
is what the engine costs: handing on and launching. A task that took longer than its median keeps its lane busy, not
empty: it shows in the makespan, and where most waiting is for slow tasks the measured bubble is below the ideal one.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from albench.errors import UsageError
from albench.trace import Span, Trace


def bubble_share(spans: Iterable[Span]) -> float:
    """Return the share of the lanes' time in which nothing ran, in [0, 1).

    Time counts from the first start to the last end, on each lane that has a span. Spans of one launch count once.
    """
    by_lane: dict[int, list[tuple[float, float]]] = {}
    for span in spans:
        by_lane.setdefault(span.lane, []).append((span.start_seconds, span.end_seconds))
    if not by_lane:
        return 0.0
    whole = max(end for own in by_lane.values() for _, end in own) - min(s for own in by_lane.values() for s, _ in own)
    busy = sum(map(_covered, by_lane.values()))
    return max(0.0, 1.0 - busy / (len(by_lane) * whole)) if whole > 0 else 0.0


def _covered(intervals: list[tuple[float, float]]) -> float:
    """Return the time that lies in at least one of some intervals."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def makespan_seconds(spans: Iterable[Span]) -> float:
    """Return the time from the first start to the last end; 0 of no spans."""
    found = list(spans)
    return max(span.end_seconds for span in found) - min(span.start_seconds for span in found) if found else 0.0


def median_seconds(spans: Iterable[Span]) -> list[float]:
    """Return the median seconds of a task of each component; 0 for a component without a span."""
    found: dict[int, list[float]] = {}
    for span in spans:
        found.setdefault(span.component, []).append(span.end_seconds - span.start_seconds)
    return [statistics.median(found.get(i, [0.0])) for i in range(1 + max(found, default=-1))]


def ideal(trace: Trace) -> list[Span]:
    """Return the spans of a trace as they would be without any waiting but what the schedule demands, from second 0."""
    if trace.unit == "tick":
        return replayed_launches(trace.spans)
    if trace.unit == "action":
        return replayed_actions(trace.spans)
    first = min(span.minibatch for span in trace.spans)
    return ideal_spans(median_seconds(trace.spans), trace.minibatches, trace.blocks, first_minibatch=first)


def ideal_spans(
    task_seconds: Sequence[float], minibatches: int, blocks: Sequence[range], *, first_minibatch: int = 0
) -> list[Span]:
    """Return the spans of a pipeline whose tasks of component i always take ``task_seconds[i]``, from second 0.

    `blocks`: the contiguous components of each lane. Each lane runs its own tasks of mini-batch 0, then of mini-batch
    1, …, the first of them as soon as the lane is free and the lane before has handed that mini-batch on. The last end
    is the makespan of `albench.schedule.timeline`.
    """
    free = [0.0] * len(blocks)
    spans = []
    for minibatch in range(first_minibatch, first_minibatch + minibatches):
        handed_on = 0.0
        for lane, block in enumerate(blocks):
            now = max(free[lane], handed_on)
            for i in block:
                spans.append(Span(i, minibatch, lane, now, now + task_seconds[i]))
                now = spans[-1].end_seconds
            free[lane] = handed_on = now
    return spans


def replayed_launches(spans: Iterable[Span]) -> list[Span]:
    """Return spans of engines that launch a tick at once as they would be with no time between launches, from second 0.

    A launch takes the median time of all launches of the same components.
    """
    launches: dict[tuple[float, float], list[Span]] = {}
    for span in spans:
        launches.setdefault((span.start_seconds, span.end_seconds), []).append(span)
    seconds: dict[tuple[int, ...], list[float]] = {}
    for (start, end), members in launches.items():
        seconds.setdefault(_components(members), []).append(end - start)
    now = 0.0
    replayed = []
    for _, members in sorted(launches.items()):
        end = now + statistics.median(seconds[_components(members)])
        replayed += [span._replace(start_seconds=now, end_seconds=end) for span in members]
        now = end
    return replayed


def replayed_actions(spans: Iterable[Span]) -> list[Span]:
    """Return the actions of stages as they would be without any waiting but what their order demands, from second 0.

    Every lane takes its actions in the order in which it took them. Each takes the median time of its kind on its
    stage, and begins when the lane is free and the action of the neighbouring stage that it needs is done
    (`albench.schedule.needed_by`).
    """
    waiting: dict[int, deque[Span]] = {}
    kinds: dict[tuple[int, str], list[float]] = {}
    for span in sorted(spans, key=lambda span: (span.start_seconds, span.end_seconds)):
        waiting.setdefault(span.lane, deque()).append(span)
        kinds.setdefault((span.component, span.action[:1]), []).append(span.end_seconds - span.start_seconds)
    seconds = {kind: statistics.median(found) for kind, found in kinds.items()}
    known = {(span.component, span.minibatch, span.action) for own in waiting.values() for span in own}
    ended: dict[tuple[int, int, str], float] = {}
    free = dict.fromkeys(waiting, 0.0)
    replayed = []
    moving = True
    while moving:
        moving = False
        for lane, own in waiting.items():
            while own and all(needed in ended for needed in _needed(own[0], known)):
                span = own.popleft()
                start = max([free[lane], *(ended[needed] for needed in _needed(span, known))])
                free[lane] = start + seconds[span.component, span.action[:1]]
                ended[span.component, span.minibatch, span.action] = free[lane]
                replayed.append(span._replace(start_seconds=start, end_seconds=free[lane]))
                moving = True
    if any(waiting.values()):
        raise UsageError("the spans are of no schedule: their lanes wait for each other")
    return replayed


def _needed(span: Span, known: Collection[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return the action of a neighbouring stage that must be done before this one, if there is one."""
    kind, microbatch = span.action[:1], span.action[1:]
    found = []
    if kind == "F":
        found = [(span.component - 1, span.minibatch, span.action)]
    elif kind in ("B", "I"):
        found = [(span.component + 1, span.minibatch, f"{either}{microbatch}") for either in "BI"]
    return [one for one in found if one in known]


def _components(members: Iterable[Span]) -> tuple[int, ...]:
    return tuple(sorted(span.component for span in members))
