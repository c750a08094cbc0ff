"""Schedules: which task runs in which tick on which lane. Pure data: no torch, no clocks, no files.

Task (i, k) updates component i on mini-batch k. It needs what task (i-1, k) handed on and the weights that task
(i, k-1) left. Those two arrows are all there is; a schedule is any order that keeps them. Components and mini-batches
are counted from 0.

Back-propagation and unpipelined AL run one task after the other. The pipeline (Table 1 of Kao & Chen, 2021) runs a
whole diagonal at once, here for 3 components and 5 mini-batches, the entry being the component that is updated:

    tick            0   1   2   3   4   5   6
    mini-batch 0    0   1   2
    mini-batch 1        0   1   2
    mini-batch 2            0   1   2
    mini-batch 3                0   1   2
    mini-batch 4                    0   1   2

With L components and N mini-batches that is N + L - 1 ticks instead of N·L, and every task trains on exactly the
weights and inputs that it would have met in the serial order.

With fewer lanes than components each lane holds a contiguous block of components; `partition` cuts the blocks, and
`Timeline` says how long tasks of known durations then take.

GPipe, 1F1B and interleaved 1F1B are the clocks of pipelined back-propagation. They cut the network into stages and the
mini-batch into microbatches, and every stage has to go forward (F) and, once the gradient has come back, backward (B):
a triangle of waiting lanes at both ends of *each* mini-batch, because all microbatches must be back before the weights
may change. Their lanes differ in one number only, how often each goes forward before it comes back (`Turns`).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from albench.errors import UsageError

Task = tuple[int, int]
"""(component, mini-batch), both counted from 0."""
Tick = list[Task]
"""Every task that may run at once."""
Action = tuple[Literal["F", "B"], int, int]
"""(forward or backward, stage, microbatch), the latter two counted from 0."""
StageTick = list[Action]
"""Every action that may run at once, at most one a lane."""
Pass = tuple[int, int]
"""(chunk, microbatch): one way through one of a lane's stages, both counted from 0."""
CHUNKS = 2
"""Stages that a lane holds in interleaved 1F1B, where nothing else is said."""


def serial(components: int, minibatches: int) -> list[Tick]:
    """Return the ticks of one task after the other: all components of mini-batch 0, then of mini-batch 1, …"""
    _check(components=components, minibatches=minibatches)
    return [[(component, minibatch)] for minibatch in range(minibatches) for component in range(components)]


def pipelined(components: int, minibatches: int) -> list[Tick]:
    """Return the ticks of Table 1: in tick τ component i trains on mini-batch τ - i, wherever there is one."""
    _check(components=components, minibatches=minibatches)
    return [
        [(component, tick - component) for component in active(components, minibatches, tick)]
        for tick in range(minibatches + components - 1)
    ]


def active(components: int, minibatches: int, tick: int) -> range:
    """Return the components that have a mini-batch in `tick` of `pipelined`: a contiguous block."""
    return range(max(0, tick - minibatches + 1), min(components, tick + 1))


def fill_ticks(components: int) -> int:
    """Return the ticks before all components are busy for the first time; the drain is as long."""
    return components - 1


@dataclass(frozen=True, kw_only=True)
class Turns:
    """The order in which each lane of a pipeline of back-propagation takes its actions, of all lanes at once.

    All lanes go through the same forward passes in the same order, and through the same backward passes. Lane k goes
    forward `warm_ups[k]` times, then backward and forward by turns, and backward for the rest.
    """

    forward: tuple[Pass, ...]
    backward: tuple[Pass, ...]
    warm_ups: tuple[int, ...]
    """Forward passes of each lane before its first backward pass."""

    @property
    def lanes(self) -> int:
        """K."""
        return len(self.warm_ups)

    @property
    def stages(self) -> int:
        """Stages of all lanes: chunk c of lane k is stage c·K + k."""
        return self.lanes * (1 + max(chunk for chunk, _ in self.forward))

    @property
    def microbatches(self) -> int:
        """M."""
        return 1 + max(microbatch for _, microbatch in self.forward)

    def order(self, lane: int) -> list[Action]:
        """Return the actions of a lane, first to last."""
        forward: list[Action] = [("F", chunk * self.lanes + lane, m) for chunk, m in self.forward]
        backward: list[Action] = [("B", chunk * self.lanes + lane, m) for chunk, m in self.backward]
        warm_up = self.warm_ups[lane]
        order = forward[:warm_up]
        for index, action in enumerate(backward):
            order.append(action)
            order += forward[warm_up + index : warm_up + index + 1]
        return order


def gpipe_turns(stages: int, microbatches: int) -> Turns:
    """Return the order of `gpipe`: every lane goes forward with all microbatches before it comes back."""
    _check(stages=stages, microbatches=microbatches)
    passes = tuple((0, microbatch) for microbatch in range(microbatches))
    return Turns(forward=passes, backward=passes, warm_ups=(microbatches,) * stages)


def one_f_one_b_turns(stages: int, microbatches: int) -> Turns:
    """Return the order of `one_f_one_b`; fewer microbatches than stages are a `UsageError`."""
    _check(stages=stages, microbatches=microbatches)
    if microbatches < stages:
        raise UsageError(
            f"microbatches is {microbatches} and stages is {stages}: 1F1B needs at least a microbatch a stage, "
            f"give {stages} microbatches or {microbatches} stages (lanes), or use gpipe"
        )
    passes = tuple((0, microbatch) for microbatch in range(microbatches))
    return Turns(forward=passes, backward=passes, warm_ups=tuple(stages - stage for stage in range(stages)))


def interleaved_turns(lanes: int, microbatches: int, chunks: int = CHUNKS) -> Turns:
    """Return the order of `interleaved_1f1b`; microbatches that do not divide into its rounds are a `UsageError`."""
    _check(lanes=lanes, microbatches=microbatches, chunks=chunks)
    rounds = max(1, microbatches // lanes)
    if microbatches % rounds:
        near = sorted({microbatches // rounds * rounds, (microbatches // rounds + 1) * rounds})
        raise UsageError(
            f"microbatches is {microbatches}: interleaved 1F1B on {lanes} lanes makes {rounds} rounds of it and needs "
            f"a multiple of {rounds}, try {' or '.join(map(str, near))}"
        )
    size = microbatches // rounds  # microbatches that go through one chunk before the next chunk's turn
    forward = tuple(
        (chunk, start * size + m) for start in range(rounds) for chunk in range(chunks) for m in range(size)
    )
    backward = tuple((chunks - 1 - chunk, microbatch) for chunk, microbatch in forward)
    warm_ups = ((chunks - 1) * size + 2 * (lanes - 1 - lane) + 1 for lane in range(lanes))
    return Turns(forward=forward, backward=backward, warm_ups=tuple(min(w, len(forward)) for w in warm_ups))


def gpipe(stages: int, microbatches: int) -> list[StageTick]:
    """Return the ticks of GPipe for one mini-batch: all microbatches forward through all stages, then all backward.

    One tick is one F or one B of one stage on one microbatch. 3 stages and 4 microbatches, the entry being F (upper
    row) or B (lower row) of the microbatch of that number:

        tick         0   1   2   3   4   5   6   7   8   9  10  11
        stage 0  F   0   1   2   3
                 B                                   0   1   2   3
        stage 1  F       0   1   2   3
                 B                               0   1   2   3
        stage 2  F           0   1   2   3
                 B                           0   1   2   3

    That is 2·(M + S - 1) ticks, and every stage keeps what all M microbatches need for their way back.
    """
    return _earliest(gpipe_turns(stages, microbatches))


def one_f_one_b(stages: int, microbatches: int) -> list[StageTick]:
    """Return the ticks of 1F1B for one mini-batch: as soon as a microbatch can come back it does.

    Stage s goes forward S - s times and then backward and forward by turns, so it never holds more than S - s
    microbatches, where GPipe holds M. 3 stages and 4 microbatches, drawn as for `gpipe`:

        tick         0   1   2   3   4   5   6   7   8   9  10  11
        stage 0  F   0   1   2               3
                 B                       0       1       2       3
        stage 1  F       0   1           2       3
                 B                   0       1       2       3
        stage 2  F           0       1       2       3
                 B               0       1       2       3

    The ticks are as many as GPipe's, 2·(M + S - 1): less memory, the same bubble. With fewer microbatches than stages
    the turns never come, and `UsageError` says so (torch refuses it too).
    """
    return _earliest(one_f_one_b_turns(stages, microbatches))


def interleaved_1f1b(lanes: int, microbatches: int, chunks: int = CHUNKS) -> list[StageTick]:
    """Return the ticks of interleaved 1F1B for one mini-batch: each lane holds `chunks` stages that lie K apart.

    Lane k of K holds stages k, K + k, …, so a microbatch goes round all lanes once a chunk. What fills and drains is a
    stage of a V-th of the size: the bubble is V times shorter, and there are V times as many messages. 2 lanes with 2
    chunks each and 4 microbatches, drawn as for `gpipe`:

        tick                 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17
        lane 0, stage 0  F   0  1        2     3
                         B                              0     1              2  3
        lane 0, stage 2  F         0  1              2     3
                         B                  0     1                 2     3
        lane 1, stage 1  F      0  1              2     3
                         B                           0     1              2  3
        lane 1, stage 3  F            0     1                 2     3
                         B               0     1                 2     3

    These are 2·(V·M + K - 1) ticks where M is a multiple of K, each a V-th as long as GPipe's. Otherwise M
    is cut into max(1, M // K) equal rounds, as torch has it, and other M are a `UsageError`.
    """
    return _earliest(interleaved_turns(lanes, microbatches, chunks))


def needed_by(action: Action, stages: int) -> Action | None:
    """Return the action of another stage that must be done before `action`; None: it needs none.

    F needs the F of the stage before, B the B of the stage behind. The last stage's B needs only its own F.
    """
    kind, stage, microbatch = action
    if kind == "F":
        return ("F", stage - 1, microbatch) if stage else None
    return ("B", stage + 1, microbatch) if stage + 1 < stages else None


def _earliest(turns: Turns) -> list[StageTick]:
    """Return the ticks in which each lane takes its actions in its order, each as early as it can be."""
    orders = [turns.order(lane) for lane in range(turns.lanes)]
    stages = turns.stages
    done: set[Action] = set()
    taken = [0] * len(orders)
    ticks: list[StageTick] = []
    while any(count < len(order) for count, order in zip(taken, orders, strict=True)):
        nexts = [(k, orders[k][count]) for k, count in enumerate(taken) if count < len(orders[k])]
        able = [(k, action) for k, action in nexts if (need := needed_by(action, stages)) is None or need in done]
        assert able, f"every lane waits: {nexts}"
        done.update(action for _, action in able)
        for k, _ in able:
            taken[k] += 1
        ticks.append([action for _, action in able])
    return ticks


def bubble_share(ticks: Sequence[StageTick], lanes: int) -> float:
    """Return the share of the lanes' time in which they wait, all actions equally long.

    In [0, 1). For `gpipe` and `one_f_one_b`, which have a lane a stage, it is (K - 1)/(M + K - 1), for
    `interleaved_1f1b` with V chunks and M a multiple of K (K - 1)/(V·M + K - 1): a share of the makespan, not, as some
    papers quote it, of the busy time, which would be (K - 1)/M.
    """
    _check(ticks=len(ticks), lanes=lanes)
    return 1.0 - sum(map(len, ticks)) / (lanes * len(ticks))


def partition(costs: Sequence[float], lanes: int) -> list[range]:
    """Cut components into at most `lanes` contiguous blocks so that the costliest block is as cheap as possible.

    This is the linear partition problem; the costliest lane is the pace of the whole pipeline. With more lanes than
    components, each component gets a lane of its own. Solved exactly by dynamic programming over the last cut,
    O(lanes · components²), and where that is over `MOST_CUTS`, by halving the interval in which the pace can lie.

    `costs`: what one task of each component takes, in any unit, each at least 0.
    """
    _check(components=len(costs), lanes=lanes)
    if any(not cost >= 0 for cost in costs):
        raise UsageError(f"costs are {list(costs)}: give numbers of at least 0")
    count = len(costs)
    if lanes >= count:
        return [range(i, i + 1) for i in range(count)]
    upto = [0.0]  # upto[j]: cost of components 0 … j-1
    for cost in costs:
        upto.append(upto[-1] + cost)
    if lanes * count**2 > MOST_CUTS:
        return _halved(upto, lanes)
    # best[j] is the smallest possible cost of the costliest block when the components before j are on `lane` lanes.
    best = upto.copy()
    cuts: list[list[int]] = []
    for lane in range(1, lanes):
        row = best.copy()
        cut = [0] * (count + 1)
        for end in range(lane + 1, count + 1):
            row[end], cut[end] = min((max(best[k], upto[end] - upto[k]), k) for k in range(lane, end))
        best = row
        cuts.append(cut)
    blocks: list[range] = []
    end = count
    for cut in reversed(cuts):
        blocks.append(range(cut[end], end))
        end = cut[end]
    blocks.append(range(0, end))
    return blocks[::-1]


MOST_CUTS = 2_000_000
"""Steps of the dynamic programme that take about a second."""


def _halved(upto: Sequence[float], lanes: int) -> list[range]:
    """Return the cut of `partition` for fewer lanes than components, given the costs before each component.

    A pace is possible if blocks that are each as long as it allows, from the left, are no more than there are lanes.
    """
    count = len(upto) - 1

    def blocks(pace: float) -> list[range]:
        found: list[range] = []
        start = 0
        while start < count and len(found) <= lanes:
            # A component over the pace is a block by itself, so that this ends; `low` rules that out.
            end = max(start + 1, bisect.bisect_right(upto, upto[start] + pace, start) - 1)
            found.append(range(start, end))
            start = end
        return found

    low = max(after - before for before, after in itertools.pairwise(upto))
    high = upto[-1]
    if len(blocks(low)) <= lanes:
        high = low
    while low < (middle := (low + high) / 2) < high:
        if len(blocks(middle)) <= lanes:
            high = middle
        else:
            low = middle
    found = blocks(high)
    while len(found) < lanes:  # lanes are left over: the longest blocks give away their last component
        longest = max(range(len(found)), key=lambda i: len(found[i]))
        block = found[longest]
        found[longest : longest + 1] = [block[:-1], block[-1:]]
    return found


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How long the pipeline takes when every lane's share of a mini-batch has a known duration."""

    makespan: float
    """From the first task's start to the last task's end, in the unit of the durations."""
    busy: float
    """Time that all lanes together spent in tasks."""
    lanes: int
    """Lanes that ran."""

    @property
    def bubble_share(self) -> float:
        """Share of the lanes' time in which they waited, in [0, 1): 0 is a perfect pipeline."""
        return 1.0 - self.busy / (self.lanes * self.makespan) if self.makespan > 0 else 0.0


def timeline(task_durations: Sequence[float], minibatches: int, blocks: Sequence[range] | None = None) -> Timeline:
    """Return the timeline of the pipeline with one lane a block of components (None: one lane a component).

    A lane takes a mini-batch as soon as it is free and the lane before has handed it on, so lane j finishes
    mini-batch k at max(finish[j][k-1], finish[j-1][k]) + duration[j]. With durations that do not change from one
    mini-batch to the next this has the closed form Σ duration + (N - 1)·max duration: the first mini-batch visits
    every lane, and from then on one arrives whenever the slowest lane is done.
    """
    _check(components=len(task_durations), minibatches=minibatches)
    blocks = [range(i, i + 1) for i in range(len(task_durations))] if blocks is None else list(blocks)
    if [i for block in blocks for i in block] != list(range(len(task_durations))):
        raise UsageError(f"blocks {blocks} do not hold each of {len(task_durations)} components once, in order")
    lane_durations = [sum(task_durations[i] for i in block) for block in blocks]
    fill = sum(lane_durations)
    return Timeline(makespan=fill + (minibatches - 1) * max(lane_durations), busy=minibatches * fill, lanes=len(blocks))


def _check(**counts: int) -> None:
    """Refuse counts below one."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name} is {count}: give a whole number of at least 1")
