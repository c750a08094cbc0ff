"""The schedules: every task once, dependencies kept, and no lane in two places at once."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.errors import UsageError
from albench.schedule import active, fill_ticks, partition, pipelined, serial, timeline

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


@pytest.mark.parametrize(
    "call",
    [
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
