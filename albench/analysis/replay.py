"""Replay: when the last task of a pipeline ends, if tasks and hand-overs take as long as they are said to.

A lane takes its work in the order of its schedule, and each piece as soon as the lane is free and what it needs has
arrived. So with the tasks d of AL's Table 1, lane j ends mini-batch k at

    end[j, k] = max(end[j, k-1], arrival[j, k]) + d[j, k]

What a lane hands on first queues for the link to the next lane, which carries one message at a time for `link` seconds
each, and arrives `latency` seconds after that; lanes and links work at the same time:

    sent[j, k] = max(sent[j, k-1], end[j, k]) + link             arrival[j+1, k] = sent[j, k] + latency

So a link is one more station of the line. Where nothing varies from one mini-batch to the next, the first mini-batch
visits every station, and from then on one arrives whenever the slowest station is done:

    makespan = Σ d + (K - 1)·(link + latency) + (N - 1)·max(d_0, …, d_(K-1), link)

A recursion of maxima and sums along k is a running maximum of what is left when the sums are taken off, so each lane is
one pass over an array (`pipeline_ends`). Pipelines of back-propagation go back and forth, and no closed form holds for
unequal stages: there all lanes take their next action at once, round after round (`stages_makespan`), each as soon as
it can, so that a round is a handful of operations on arrays however many lanes there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albench.errors import UsageError
from albench.schedule import Turns

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def pipeline_makespan(
    lane_seconds: Sequence[float], minibatches: int, *, link_seconds: float = 0.0, latency_seconds: float = 0.0
) -> float:
    """Return the seconds of `minibatches` mini-batches from an empty to a drained pipeline of equal mini-batches.

    `lane_seconds`: what a mini-batch takes on each lane. `link_seconds`: how long a message occupies a link, and
    `latency_seconds`: how much later it arrives. Raises `UsageError` for what is no duration.
    """
    lanes = _durations(lane_seconds, "lane seconds")
    link, latency = _durations([link_seconds, latency_seconds], "link and latency seconds")
    if lanes.size == 0 or minibatches < 1:
        raise UsageError(f"{lanes.size} lanes and {minibatches} mini-batches: give at least 1 of each")
    hops = lanes.size - 1
    slowest = max(lanes.max(), link if hops else 0.0)
    return float(lanes.sum() + hops * (link + latency) + (minibatches - 1) * slowest)


def pipeline_ends(task_seconds: ArrayLike, *, link_seconds: float = 0.0, latency_seconds: float = 0.0) -> Floats:
    """Return when each task ends, ``[K, N]`` like `task_seconds`, which may differ from mini-batch to mini-batch.

    The queues between lanes never fill up. The last entry is the makespan. Raises `UsageError` for what is no duration.
    """
    durations_KN = _durations(task_seconds, "task seconds")
    link, latency = _durations([link_seconds, latency_seconds], "link and latency seconds")
    if durations_KN.ndim != 2 or durations_KN.size == 0:
        raise UsageError(f"task seconds have shape {durations_KN.shape}: give a number a lane and mini-batch, [K, N]")
    ends_KN = np.empty_like(durations_KN)
    on_the_link = np.full(durations_KN.shape[1], link)
    arrivals = np.zeros(durations_KN.shape[1])
    for lane, durations in enumerate(durations_KN):
        ends_KN[lane] = _ends_of_station(arrivals, durations)
        sent = _ends_of_station(ends_KN[lane], on_the_link) if link else ends_KN[lane]
        arrivals = sent + latency
    return ends_KN


def _ends_of_station(arrivals: Floats, durations: Floats) -> Floats:
    """Return when each of a queue's entries is done: end[k] = max(end[k-1], arrival[k]) + duration[k]."""
    spent = np.cumsum(durations)
    return np.maximum.accumulate(arrivals - (spent - durations)) + spent


def stages_makespan(
    turns: Turns,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    *,
    link_seconds: ArrayLike = 0.0,
    latency_seconds: float = 0.0,
) -> float:
    """Return the seconds of one mini-batch of a pipeline of back-propagation whose lanes take their actions in `turns`.

    `forward_seconds`, `backward_seconds` ``[S]``: of one microbatch in each stage. `link_seconds`: how long what goes
    from stage s to s + 1, and back from there, occupies a link, ``[S - 1]`` or one number for all. Each pair of lanes
    has a link of its own in each direction; stages of one lane hand over for nothing. Raises `UsageError` for what is
    no duration, or not one a stage.
    """
    stages, lanes, microbatches = turns.stages, turns.lanes, turns.microbatches
    seconds = np.concatenate(
        [
            _one_each(_durations(values, f"{name} seconds"), stages, name)
            for name, values in (("forward", forward_seconds), ("backward", backward_seconds))
        ]
    )
    hop_seconds = _one_each(_durations(link_seconds, "link seconds"), stages - 1, "link")
    (latency,) = _durations([latency_seconds], "latency seconds")
    # A slot is a stage and a direction: s forward, S + s backward. An action is slot·M + microbatch.
    onward = np.concatenate([np.arange(1, stages + 1), stages - 1 + np.arange(stages)])
    onward[[stages - 1, stages]] = -1  # the last stage's output is the loss, the first's gradient is nobody's
    link = np.concatenate([hop_seconds, [0.0, 0.0], hop_seconds])
    if lanes == 1:
        link, latency = np.zeros_like(link), 0.0
    order_KA = _orders(turns)
    actions = order_KA.shape[1]
    arrivals = np.full(2 * stages * microbatches, np.inf)
    arrivals[:microbatches] = 0.0
    last_back = (2 * stages - 1) * microbatches
    arrivals[last_back : last_back + microbatches] = 0.0  # needs its own forward pass, which its lane has done by then
    lane_ends, link_ends = np.zeros(lanes), np.zeros((2, lanes))
    taken = np.zeros(lanes, dtype=np.int64)
    left = order_KA.size
    asked = np.arange(lanes)
    next_round = np.zeros(lanes, dtype=bool)
    while left:
        action = order_KA[asked, taken[asked]]
        able = arrivals[action] < np.inf
        lane, action = asked[able], action[able]
        assert lane.size, "every lane waits"
        slot, microbatch = np.divmod(action, microbatches)
        ends = np.maximum(lane_ends[lane], arrivals[action]) + seconds[slot]
        lane_ends[lane] = ends
        taken[lane] += 1
        left -= lane.size
        handed_on = onward[slot] >= 0
        sender, slot, ends = lane[handed_on], slot[handed_on], ends[handed_on]
        direction = (slot >= stages).astype(np.int64)
        sent = np.maximum(link_ends[direction, sender], ends) + link[slot]
        link_ends[direction, sender] = sent
        target = onward[slot]
        arrivals[target * microbatches + microbatch[handed_on]] = sent + latency
        # Only who has just done something, or been given something, can have become able.
        next_round[lane] = True
        next_round[target % stages % lanes] = True
        asked = np.flatnonzero(next_round & (taken < actions))
        next_round[:] = False
    return float(lane_ends.max())


def _orders(turns: Turns) -> Integers:
    """Return the actions of each lane in its order, ``[K, 2·V·M]``; the same as `Turns.order`, of all lanes at once."""
    lanes, stages, microbatches = turns.lanes, turns.stages, turns.microbatches
    forward, backward = np.array(turns.forward), np.array(turns.backward)
    lane = np.arange(lanes)[:, None]
    warm_up = np.array(turns.warm_ups)[:, None]
    count = len(forward)
    index = np.arange(count)[None, :]
    order = np.empty((lanes, 2 * count), dtype=np.int64)
    # Before forward pass i go i others, and one backward pass for each that is beyond the warm-up, and so on.
    order[lane, index + np.maximum(0, index - warm_up + 1)] = (forward[:, 0] * lanes + lane) * microbatches + forward[
        :, 1
    ]
    order[lane, index + np.minimum(warm_up + index, count)] = (
        stages + backward[:, 0] * lanes + lane
    ) * microbatches + backward[:, 1]
    return order


def _durations(values: ArrayLike, name: str) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(found).all() and (found >= 0).all()):
        bad = found[~(np.isfinite(found) & (found >= 0))].flat[0]
        raise UsageError(f"{name} hold {bad}: give finite numbers of at least 0")
    return found


def _one_each(values: Floats, count: int, name: str) -> Floats:
    if values.ndim == 0:
        return np.full(count, float(values))
    if values.shape != (count,):
        raise UsageError(f"{name} seconds have shape {values.shape}: give {count}, one a stage (or pair of stages)")
    return values
