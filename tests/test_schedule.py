"""The schedules: every task once, dependencies kept, and no lane in two places at once."""

import itertools
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench import schedule
from albench.errors import UsageError
from albench.schedule import (
    active,
    bubble_share,
    fill_ticks,
    gpipe,
    interleaved_1f1b,
    interleaved_turns,
    needed_by,
    one_f_one_b,
    partition,
    pipelined,
    serial,
    timeline,
)

counts = st.integers(1, 12)


def test_pipelined_is_table_1_of_the_paper():
    # mini-batch:   0      1      2      3      4
    assert pipelined(3, 5) == [
        [(0, 0)],
        [(0, 1), (1, 0)],
        [(0, 2), (1, 1), (2, 0)],
        [(0, 3), (1, 2), (2, 1)],
        [(0, 4), (1, 3), (2, 2)],
        [(1, 4), (2, 3)],
        [(2, 4)],
    ]  # fmt: skip


def test_serial_is_one_task_a_tick():
    assert serial(2, 3) == [[(0, 0)], [(1, 0)], [(0, 1)], [(1, 1)], [(0, 2)], [(1, 2)]]


@pytest.mark.parametrize("make", [serial, pipelined])
@given(components=counts, minibatches=counts)
def test_every_task_once_and_dependencies_kept(make, components, minibatches):
    ticks = make(components, minibatches)
    when = {}
    for number, tick in enumerate(ticks):
        lanes = [component for component, _ in tick]
        assert len(set(lanes)) == len(lanes), "a lane runs two tasks in one tick"
        for task in tick:
            assert task not in when, "a task runs twice"
            when[task] = number
    assert set(when) == set(itertools.product(range(components), range(minibatches)))
    for (component, minibatch), number in when.items():
        if component:
            assert when[component - 1, minibatch] < number, "runs before its input exists"
        if minibatch:
            assert when[component, minibatch - 1] < number, "runs before its weights exist"


@given(components=counts, minibatches=counts)
def test_pipelined_takes_n_plus_components_minus_one_ticks(components, minibatches):
    ticks = pipelined(components, minibatches)
    assert len(ticks) == minibatches + components - 1
    if minibatches >= components:
        assert len(ticks[fill_ticks(components)]) == components
        assert all(len(tick) < components for tick in ticks[: fill_ticks(components)])
    for number, tick in enumerate(ticks):
        assert [component for component, _ in tick] == list(active(components, minibatches, number))


def block_costs(costs, blocks):
    return [sum(costs[i] for i in block) for block in blocks]


@given(costs=st.lists(st.integers(0, 50), min_size=1, max_size=8), lanes=st.integers(1, 10))
def test_partition_is_contiguous_and_optimal(costs, lanes):
    blocks = partition(costs, lanes)
    assert [i for block in blocks for i in block] == list(range(len(costs)))
    assert len(blocks) == min(lanes, len(costs))
    assert all(len(block) for block in blocks)
    # Against every way to cut: this is what "optimal" means, and 8 components are few enough to try them all.
    cuts = itertools.combinations(range(1, len(costs)), len(blocks) - 1)
    every = [list(map(range, (0, *cut), (*cut, len(costs)))) for cut in cuts]
    assert max(block_costs(costs, blocks)) == min(max(block_costs(costs, other)) for other in every)


@given(costs=st.lists(st.integers(0, 50) | st.floats(0, 1), min_size=1, max_size=30), lanes=st.integers(1, 30))
@settings(deadline=None)
def test_both_ways_to_partition_find_the_same_pace(costs, lanes):
    """Of thousands of components the dynamic programme would take minutes; what takes its place is as exact."""
    exact = partition(costs, lanes)
    with mock.patch.object(schedule, "MOST_CUTS", 0):
        halved = partition(costs, lanes)
    assert [i for block in halved for i in block] == list(range(len(costs)))
    assert len(halved) == len(exact)
    assert all(len(block) for block in halved)
    assert max(block_costs(costs, halved)) == pytest.approx(max(block_costs(costs, exact)), rel=1e-12)


def test_thousands_of_components_are_partitioned():
    blocks = partition([3.0, *[1.0] * 8190, 2.0], 4096)
    assert len(blocks) == 4096
    assert max(block_costs([3.0, *[1.0] * 8190, 2.0], blocks)) == 3.0


def test_partition_gives_a_big_first_component_a_lane_of_its_own():
    assert partition([10, 1, 1, 1, 1], 2) == [range(0, 1), range(1, 5)]


@given(
    durations=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    minibatches=st.integers(1, 10),
    lanes=st.integers(1, 7),
)
@settings(deadline=None)
def test_timeline_agrees_with_a_simulation(durations, minibatches, lanes):
    blocks = partition(durations, lanes)
    free = [0] * len(blocks)
    for _ in range(minibatches):
        handed_on = 0
        for lane, duration in enumerate(block_costs(durations, blocks)):
            free[lane] = handed_on = max(free[lane], handed_on) + duration
    line = timeline(durations, minibatches, blocks)
    assert line.makespan == max(free)
    assert line.busy == minibatches * sum(durations)
    assert 0 <= line.bubble_share < 1


@given(components=counts, minibatches=counts)
def test_timeline_of_equal_tasks_is_the_number_of_ticks(components, minibatches):
    assert timeline([1] * components, minibatches).makespan == len(pipelined(components, minibatches))
    one_lane = timeline([1] * components, minibatches, [range(components)])
    assert one_lane.makespan == len(serial(components, minibatches))
    assert one_lane.bubble_share == 0


def test_bubble_share_of_the_fill():
    assert timeline([1, 1, 1], 5).bubble_share == pytest.approx(1 - 15 / 21)


def staircase(ticks, stages):
    """Return a schedule as it is drawn: the microbatches that a stage takes forward and backward, tick by tick."""
    rows = []
    for stage in range(stages):
        for kind in "FB":
            entries = [[str(m) for k, s, m in tick if (k, s) == (kind, stage)] for tick in ticks]
            rows.append(f"{stage}{kind} " + "".join((entry or ["."])[0] for entry in entries))
    return rows


def test_gpipe_goes_all_forward_then_all_backward():
    assert staircase(gpipe(3, 4), 3) == [
        "0F 0123........",
        "0B ........0123",
        "1F .0123.......",
        "1B .......0123.",
        "2F ..0123......",
        "2B ......0123..",
    ]


def test_one_f_one_b_comes_back_as_soon_as_it_can():
    assert staircase(one_f_one_b(3, 4), 3) == [
        "0F 012...3.....",
        "0B .....0.1.2.3",
        "1F .01..2.3....",
        "1B ....0.1.2.3.",
        "2F ..0.1.2.3...",
        "2B ...0.1.2.3..",
    ]
    assert one_f_one_b(2, 2) == [
        [("F", 0, 0)],
        [("F", 0, 1), ("F", 1, 0)],
        [("B", 1, 0)],
        [("B", 0, 0), ("F", 1, 1)],
        [("B", 1, 1)],
        [("B", 0, 1)],
    ]


def test_interleaved_1f1b_goes_round_the_lanes_once_a_chunk():
    # 2 lanes: stages 0 and 2 are on the first, 1 and 3 on the second
    assert staircase(interleaved_1f1b(2, 4), 4) == [
        "0F 01..2.3...........",
        "0B .........0.1....23",
        "1F .01....2.3........",
        "1B ........0.1....23.",
        "2F ..01....2.3.......",
        "2B .....0.1.....2.3..",
        "3F ...0.1.....2.3....",
        "3B ....0.1.....2.3...",
    ]


@given(lanes=st.integers(1, 6), chunks=st.integers(1, 3), rounds=st.integers(1, 4), size=st.integers(1, 6))
@settings(deadline=None)
def test_interleaved_1f1b_takes_every_action_once_and_after_what_it_needs(lanes, chunks, rounds, size):
    microbatches = size if rounds == 1 else max(size, lanes) * rounds
    if microbatches % max(1, microbatches // lanes):
        with pytest.raises(UsageError, match="rounds of it and needs a multiple of"):
            interleaved_1f1b(lanes, microbatches, chunks)
        return
    stages = lanes * chunks
    when = {}
    for number, tick in enumerate(interleaved_1f1b(lanes, microbatches, chunks)):
        busy = [stage % lanes for _, stage, _ in tick]
        assert len(set(busy)) == len(busy), "a lane takes two actions in one tick"
        for action in tick:
            assert action not in when, "an action is taken twice"
            when[action] = number
    assert set(when) == set(itertools.product("FB", range(stages), range(microbatches)))
    for (kind, stage, m), number in when.items():
        need = needed_by((kind, stage, m), stages)
        assert need is None or when[need] < number, "before what it needs exists"
        assert kind == "F" or when["F", stage, m] < number, "backward before forward"


def test_interleaving_makes_the_bubble_as_many_times_shorter_as_there_are_chunks():
    for lanes, chunks, rounds in itertools.product(range(1, 9), range(1, 5), range(1, 4)):
        microbatches = lanes * rounds
        ticks = interleaved_1f1b(lanes, microbatches, chunks)
        assert len(ticks) == 2 * (chunks * microbatches + lanes - 1)
        assert bubble_share(ticks, lanes) == pytest.approx((lanes - 1) / (chunks * microbatches + lanes - 1))


def test_interleaving_refuses_microbatches_that_make_no_equal_rounds_with_the_remedy():
    with pytest.raises(UsageError, match="microbatches is 9: .* on 4 lanes makes 2 rounds .* try 8 or 10"):
        interleaved_1f1b(4, 9)


def test_one_chunk_is_1f1b_but_for_a_longer_warm_up():
    """The interleaved order has every lane start one microbatch earlier for each lane behind it; the time is equal."""
    assert len(interleaved_1f1b(4, 8, 1)) == len(one_f_one_b(4, 8))


@st.composite
def stages_and_microbatches(draw):
    """At least a microbatch a stage, so that both clocks take them."""
    microbatches = draw(counts)
    return draw(st.integers(1, microbatches)), microbatches


@pytest.mark.parametrize("make", [gpipe, one_f_one_b])
@given(sizes=stages_and_microbatches())
def test_every_action_once_and_after_what_it_needs(make, sizes):
    stages, microbatches = sizes
    when = {}
    for number, tick in enumerate(make(stages, microbatches)):
        lanes = [stage for _, stage, _ in tick]
        assert len(set(lanes)) == len(lanes), "a stage takes two actions in one tick"
        for action in tick:
            assert action not in when, "an action is taken twice"
            when[action] = number
    assert set(when) == set(itertools.product("FB", range(stages), range(microbatches)))
    last = stages - 1
    for (kind, stage, m), number in when.items():
        if kind == "F" and stage:
            assert when["F", stage - 1, m] < number, "forward before its input exists"
        if kind == "B":
            assert when["F", stage, m] < number, "backward before forward"
            assert stage == last or when["B", stage + 1, m] < number, "backward before its gradient exists"
    for kind, stage in itertools.product("FB", range(stages)):
        numbers = [when[kind, stage, m] for m in range(microbatches)]
        assert numbers == sorted(numbers), "microbatches pass one another, and gradients add up in another order"


def in_flight(ticks, stage):
    """Return how many microbatches a stage holds, after each of its actions."""
    steps = [1 if kind == "F" else -1 for tick in ticks for kind, s, _ in tick if s == stage]
    return list(itertools.accumulate(steps))


@given(sizes=stages_and_microbatches())
def test_gpipe_holds_every_microbatch_and_one_f_one_b_no_more_than_there_are_stages_to_go(sizes):
    stages, microbatches = sizes
    for stage in range(stages):
        assert in_flight(gpipe(stages, microbatches), stage) == [
            *range(1, microbatches + 1),
            *reversed(range(microbatches)),
        ]
        held = in_flight(one_f_one_b(stages, microbatches), stage)
        assert max(held) == stages - stage
        assert held[: stages - stage] == list(range(1, stages - stage + 1)), "the warm-up"
        turns = held[stages - stage :]
        assert all(low == stages - stage - 1 for low in turns[: 2 * (microbatches - stages + stage) : 2])


def test_the_bubble_is_the_textbooks():
    """Of both clocks: 1F1B saves memory, not time."""
    for stages, microbatches in itertools.product(range(1, 17), repeat=2):
        expected = pytest.approx((stages - 1) / (microbatches + stages - 1))
        for make in (gpipe, one_f_one_b) if microbatches >= stages else (gpipe,):
            ticks = make(stages, microbatches)
            assert len(ticks) == 2 * (microbatches + stages - 1)
            assert bubble_share(ticks, stages) == expected


def test_one_f_one_b_refuses_fewer_microbatches_than_stages_with_the_remedy():
    with pytest.raises(UsageError, match="microbatches is 3 and stages is 4: .* give 4 microbatches or 3 stages"):
        one_f_one_b(4, 3)


def torchs_order(name, stage, stages, microbatches):
    """Return what a schedule of torch really does on one stage, from its own loop over a stage that does nothing.

    Not from its ``_get_pipeline_order``, a drawing: of 1F1B's last stage torch 2.13 draws microbatches 1 … M.
    """
    schedules = pytest.importorskip("torch.distributed.pipelining.schedules", reason="this torch has no pipelining")
    order = []

    def note(kind):
        return lambda microbatch, *_, **__: order.append((kind, stage, microbatch))

    nothing = mock.MagicMock(stage_index=stage, num_stages=stages, is_first=stage == 0, is_last=stage == stages - 1)
    nothing.forward_one_chunk.side_effect = note("F")
    nothing.backward_one_chunk.side_effect = note("B")
    for receive_or_send in ("get_fwd_recv_ops", "get_fwd_send_ops", "get_bwd_recv_ops", "get_bwd_send_ops"):
        getattr(nothing, receive_or_send).return_value = []
    with mock.patch.object(schedules.PipelineScheduleSingle, "_initialize_stage"):
        schedule = getattr(schedules, name)(nothing, microbatches)
        schedule._step_microbatches([()] * microbatches, [{}] * microbatches)
    return order


@pytest.mark.parametrize(("make", "name"), [(gpipe, "ScheduleGPipe"), (one_f_one_b, "Schedule1F1B")])
def test_every_stage_takes_its_actions_in_the_order_of_torchs_own_schedule(make, name):
    for stages, microbatches in [(1, 1), (1, 4), (2, 2), (2, 5), (3, 4), (4, 4), (4, 8), (5, 16)]:
        ticks = make(stages, microbatches)
        for stage in range(stages):
            try:
                theirs = torchs_order(name, stage, stages, microbatches)
            except (AttributeError, TypeError) as error:
                pytest.skip(f"torch's schedules have moved: {error}")
            assert [action for tick in ticks for action in tick if action[1] == stage] == theirs


def test_every_lane_takes_its_actions_in_the_order_of_torchs_own_interleaved_schedule():
    """Torch runs the lists that it makes when the schedule is made; idle slots in them are left out."""
    schedules = pytest.importorskip("torch.distributed.pipelining.schedules", reason="this torch has no pipelining")
    for lanes, chunks, microbatches in [(1, 1, 1), (1, 2, 4), (2, 2, 2), (2, 2, 8), (2, 3, 6), (4, 2, 10), (4, 2, 3)]:
        turns = interleaved_turns(lanes, microbatches, chunks)
        for lane in range(lanes):
            stages = [
                mock.MagicMock(
                    stage_index=chunk * lanes + lane,
                    num_stages=lanes * chunks,
                    group_size=lanes,
                    group_rank=lane,
                    is_first=chunk * lanes + lane == 0,
                    is_last=chunk * lanes + lane == lanes * chunks - 1,
                )
                for chunk in range(chunks)
            ]
            try:
                theirs = schedules.ScheduleInterleaved1F1B(stages, microbatches).pipeline_order[lane]
                found = [
                    (action.computation_type.name.removeprefix("FULL_")[0], action.stage_index, action.microbatch_index)
                    for action in theirs
                    if action is not None
                ]
            except (AttributeError, TypeError) as error:
                pytest.skip(f"torch's schedules have moved: {error}")
            assert turns.order(lane) == found


def test_what_an_action_needs_is_on_the_stage_beside():
    assert needed_by(("F", 0, 3), 4) is None
    assert needed_by(("F", 2, 3), 4) == ("F", 1, 3)
    assert needed_by(("B", 2, 3), 4) == ("B", 3, 3)
    assert needed_by(("B", 3, 3), 4) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: gpipe(0, 1),
        lambda: gpipe(2, 0),
        lambda: one_f_one_b(0, 1),
        lambda: one_f_one_b(3, 2),
        lambda: interleaved_1f1b(0, 1),
        lambda: interleaved_1f1b(2, 5),
        lambda: interleaved_1f1b(2, 2, 0),
        lambda: bubble_share([], 2),
        lambda: serial(0, 1),
        lambda: pipelined(1, 0),
        lambda: partition([], 1),
        lambda: partition([1.0], 0),
        lambda: partition([float("nan")], 1),
        lambda: timeline([1, 1], 2, [range(0, 1)]),
    ],
)
def test_bad_counts_are_refused_in_one_line(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
