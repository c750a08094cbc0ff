"""A grid leaves out what cannot be, and a command line changes only the contenders that take an axis."""

import dataclasses

import pytest

from albench.errors import UsageError
from albench.harness.grid import AL_SERIAL, Contender, Grid, bp_compiled
from albench.harness.overrides import Overrides
from albench.methods.cutting import PIPELINES

GRID = Grid(
    contenders=tuple(
        Contender(method=method, engine="ranks", lanes=2, microbatches=m) for method in PIPELINES for m in (1, 4)
    ),
    hidden_layers=(8,),
    widths=(8,),
    batch_sizes=(24,),
    minibatches=(3,),
)


def test_a_number_of_microbatches_that_a_schedule_cannot_run_is_left_out_where_another_can():
    found = [(one.method, one.microbatches) for one in GRID.scenarios()]
    assert ("gpipe", 1) in found
    assert ("1f1b", 1) not in found
    assert ("1f1b", 4) in found
    (changed,) = Overrides(microbatches=(1, 5, 12), methods=("1f1b",)).apply(GRID)
    assert [one.microbatches for one in changed.scenarios()] == [12]


def test_a_number_of_microbatches_that_is_the_only_one_is_refused_in_words():
    (changed,) = Overrides(microbatches=(5,)).apply(GRID)
    with pytest.raises(UsageError, match="5 equal parts"):
        changed.scenarios()


def test_overrides_reach_only_the_methods_that_take_them():
    grid = Grid(
        contenders=(
            Contender(method="bp", engine="eager"),
            Contender(method="gpipe", engine="ranks", microbatches=4),
            Contender(method="al-ddp", engine="threads", replicas=2),
        ),
        hidden_layers=(8,),
        widths=(8,),
        batch_sizes=(24,),
        minibatches=(3,),
    )
    (changed,) = Overrides(microbatches=(2, 3), replicas=(1, 4), device="cuda").apply(grid)
    found = [(one.method, one.microbatches, one.replicas, one.device) for one in changed.scenarios()]
    assert found == [
        ("bp", 1, 1, "cuda"),
        ("gpipe", 2, 1, "cuda"),
        ("gpipe", 3, 1, "cuda"),
        ("al-ddp", 1, 1, "cuda"),
        ("al-ddp", 1, 4, "cuda"),
    ]
    with pytest.raises(UsageError, match="microbatches is 0"):
        Overrides(microbatches=(0,))


def test_shares_of_a_gpu_reach_only_the_engines_with_lanes_there():
    grid = Grid(
        contenders=(
            Contender(method="bp", engine="eager"),
            Contender(method="al", engine="fused"),
            Contender(method="al", engine="graph", lanes=2),
        ),
        hidden_layers=(8,),
        widths=(8,),
        batch_sizes=(24,),
        minibatches=(3,),
        device="cuda",
    )

    def found(overrides):
        (changed,) = overrides.apply(grid)
        return [(one.engine, one.lane_kind, one.lane_sms) for one in changed.scenarios()]

    others = [("eager", "stream", None), ("fused", "stream", None)]
    both = Overrides(lane_kinds=("stream", "sm-share"))
    assert found(both) == [*others, ("graph", "stream", None), ("graph", "sm-share", None)]
    assert found(Overrides(lane_sms=8)) == [*others, ("graph", "sm-share", 8)]
    sized = Overrides(lane_kinds=("stream", "sm-share"), lane_sms=8)
    assert found(sized) == [*others, ("graph", "stream", None), ("graph", "sm-share", 8)]
    with pytest.raises(UsageError, match="lane SMs is 8: plain streams have none"):
        Overrides(lane_kinds=("stream",), lane_sms=8)
    with pytest.raises(UsageError, match="did you mean 'sm-share'"):
        Overrides(lane_kinds=("sm-shares",))


def test_bp_on_a_share_stays_one_lane_however_many_are_asked_for():
    grid = Grid(
        contenders=(Contender(method="bp", engine="graph"), Contender(method="al", engine="graph", lanes=2)),
        hidden_layers=(8,),
        widths=(8,),
        batch_sizes=(24,),
        minibatches=(3,),
        device="cuda",
    )
    (changed,) = Overrides(lanes=(4,), lane_sms=8).apply(grid)
    assert [(one.method, one.lanes, one.lane_sms) for one in changed.scenarios()] == [("bp", 1, 8), ("al", 4, 8)]


def test_compiled_bp_can_be_put_into_a_suite():
    contender = bp_compiled(2)
    assert contender.takes_lanes
    (one,) = Grid(
        contenders=(contender,), hidden_layers=(8,), widths=(8,), batch_sizes=(24,), minibatches=(3,)
    ).scenarios()
    assert one.series == "BP compiled, 2 threads"


def test_what_holds_for_a_whole_grid_can_be_given_too():
    (scaled,) = Overrides(initial_scale=0.5).apply(dataclasses.replace(GRID, contenders=(AL_SERIAL,)))
    assert {one.initial_scale for one in scaled.scenarios()} == {0.5}
    changes = Overrides(precision="float64", learning_rate=0.25, bridge_factor=3)
    (changed,) = changes.apply(GRID)
    found = {(one.precision, one.learning_rate, one.bridge_width) for one in changed.scenarios()}
    assert found == {("float64", 0.25, 24)}
    (pooled,) = Overrides(network="cnn", bridge="pooled", datasets=("cifar10",)).apply(GRID)
    assert (pooled.network, pooled.bridge) == ("cnn", "pooled")
    with pytest.raises(UsageError, match="unknown bridge 'pool': did you mean 'pooled'"):
        Overrides(bridge="pool")
    with pytest.raises(UsageError, match="unknown network 'cn': did you mean 'cnn'"):
        Overrides(network="cn")
    (same,) = Overrides(hidden_layers=(8,)).apply(changed)
    assert same == changed, "what is not given stays"


def test_what_distinct_targets_are_worth_can_be_asked():
    """Each idea is to be measured on and off; a method without a target side takes part once."""
    grid = Grid(
        contenders=(Contender(method="al", engine="fused"), Contender(method="bp", engine="eager")),
        hidden_layers=(8,),
        widths=(8,),
        batch_sizes=(24,),
        minibatches=(3,),
    )
    (changed,) = Overrides(distinct_targets=("on", "off")).apply(grid)
    found = [(one.method, one.distinct_targets) for one in changed.scenarios()]
    assert found == [("al", True), ("al", False), ("bp", "auto")]
    assert len({one.describe() for one in changed.scenarios()}) == 3, "they can be told apart while they run"
    with pytest.raises(UsageError, match="distinct targets 'of'.*did you mean 'off'"):
        Overrides(distinct_targets=("of",))
