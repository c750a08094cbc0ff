"""What cannot run is refused before anything starts, and every line of a figure has a name of its own."""

import pytest

from albench.errors import UsageError
from albench.harness.history import History
from albench.harness.recipe import Recipe
from albench.harness.scenario import Scenario
from albench.methods import METHODS
from albench.methods.cutting import schedule_fault
from tests.harness.test_records import record


def scenario(method, **changes):
    defaults = {"hidden_layers": 8, "width": 8, "batch_size": 24, "minibatches": 3, "lanes": 2}
    return Scenario(method=method, **({"engine": METHODS[method].engines[0]} | defaults | changes))


REFUSED = {
    "BP is not cut": ("bp", {"microbatches": 4}, "microbatches is 4: BP does not cut its mini-batches, leave it at 1"),
    "nor is AL": ("al", {"microbatches": 2}, "microbatches is 2: AL does not cut"),
    "nor is DDP": ("ddp", {"microbatches": 2}, "microbatches is 2: DDP does not cut"),
    "unequal parts": (
        "gpipe",
        {"microbatches": 5},
        "microbatches is 5: a batch of 24 does not divide into 5 equal parts, try 4 or 6",
    ),
    "more parts than rows": ("gpipe", {"microbatches": 48}, "into 48 equal parts, try 24$"),
    "1F1B with too few": (
        "1f1b",
        {"microbatches": 2, "lanes": 4},
        "microbatches is 2: 1F1B needs at least one for each of its 4 stages, try 4$",
    ),
    "1F1B with one": ("1f1b", {}, "microbatches is 1: 1F1B .* 2 stages, try 2$"),
    "1F1B that no M can run": ("1f1b", {"lanes": 8, "batch_size": 4}, "give a batch size of at least 8 or fewer lanes"),
    "interleaved that is no multiple": (
        "interleaved-1f1b",
        {"microbatches": 10, "batch_size": 60, "lanes": 3},
        "microbatches is 10: Interleaved 1F1B on 3 lanes makes 3 rounds of it and needs a multiple of 3, try 6 or 12",
    ),
    "more stages than layers": (
        "gpipe",
        {"lanes": 6, "hidden_layers": 4},
        "lanes is 6: GPipe cuts the network into 6 stages and it has 5 linear layers, "
        "give at most 5 lanes or at least 1 more hidden layers",
    ),
    "chunks count": (
        "zero-bubble",
        {"lanes": 5, "hidden_layers": 8},
        "into 10 stages and it has 9 linear layers, give at most 4 lanes",
    ),
    "replicas": ("ddp", {"replicas": 2}, "replicas is 2: DDP has none, leave it at 1 or give method al-ddp"),
    "replicas of BP": ("bp", {"replicas": 3}, "replicas is 3: BP has none"),
    "unequal shares": ("ddp", {"lanes": 7}, "batch size is 24: DDP needs equal shares for its 7 lanes, try 21 or 28"),
    "unequal shares of replicas": (
        "al-ddp",
        {"replicas": 5},
        r"AL \+ DDP needs .* 5 replicas, try 20 or 25",
    ),
    "more shares than rows": ("ddp", {"lanes": 32}, "batch size is 24: .* try 32$"),
    "shares of a CPU": (
        "al",
        {"lane_kind": "sm-share"},
        "lane kind is 'sm-share': AL serial has no lanes on one GPU, give lane kind 'stream', or engine 'streams' or",
    ),
    "lanes of an unknown kind": ("al", {"lane_kind": "sm-shares"}, "unknown lane kind 'sm-shares'.*sm-share"),
    "a size of no shares": ("al", {"engine": "graph", "lane_sms": 8}, "lane SMs is 8: give lane kind 'sm-share' with"),
    "shares of nothing": (
        "al",
        {"engine": "graph", "lane_kind": "sm-share", "lane_sms": 0},
        "lane SMs is 0: give at least 1",
    ),
    "BP on many shares": (
        "bp",
        {"engine": "graph", "lane_kind": "sm-share"},
        "lanes is 2: BP runs on one share of the multiprocessors, give 1",
    ),
    "a network that is not cut": (
        "gpipe",
        {"network": "cnn"},
        "network is 'cnn': GPipe takes 'mlp' only, give that or",
    ),
    "a network that is not averaged": ("al-ddp", {"network": "resnet20"}, r"AL \+ DDP takes 'mlp' only"),
    "an unknown network": ("al", {"network": "resnet"}, "unknown network 'resnet': did you mean"),
    "another depth than the network's": (
        "al",
        {"network": "vgg", "hidden_layers": 16},
        "hidden layers is 16: network 'vgg' has 8, give that or leave it out",
    ),
    "an unknown bridge": ("al", {"network": "cnn", "bridge": "pool"}, "unknown bridge 'pool': did you mean 'pooled'"),
    "a bridge that pools nothing": ("al", {"bridge": "pooled"}, "network 'mlp' has no feature maps to pool"),
    "a scale of nothing": ("al", {"initial_scale": 0.0}, "initial scale is 0.0: give a number above 0 and below 100"),
    "a scale of no layer": ("bp", {"initial_scale": 2.0}, "it is of AL's sigmoid layers and BP has none, give 1"),
    "odd depth": ("al-ddp", {"hidden_layers": 3}, r"hidden layers is 3: AL \+ DDP folds an even number .* try 2 or 4"),
    "the least depth": ("al", {"hidden_layers": 1}, "hidden layers is 1: AL folds an even number .* try 2$"),
    "odd depth with a bridge": ("bp", {"hidden_layers": 3, "bridge_width": 9}, "a bridge in the middle needs an even"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_in_one_line_with_value_and_remedy(name):
    method, changes, words = REFUSED[name]
    with pytest.raises(UsageError, match=words) as caught:
        scenario(method, **changes)
    assert "\n" not in str(caught.value)


def test_what_was_added_later_leaves_the_keys_of_records_on_file_alone():
    """A sweep would measure everything again."""
    assert scenario("al").key == "ce23183ca2304c01"
    assert scenario("al", network="cnn", bridge="pooled").key != scenario("al", network="cnn").key
    assert "AL serial, initial weights × 0.5, ℓ = 8" in scenario("al", initial_scale=0.5).describe()
    assert "AL serial, cnn pooled, ℓ = 8" in scenario("al", network="cnn", bridge="pooled", lanes=1).describe()


def test_a_bridge_is_one_more_layer_to_cut():
    with pytest.raises(UsageError, match="3 linear layers"):
        scenario("gpipe", lanes=4, hidden_layers=2)
    assert scenario("gpipe", lanes=4, hidden_layers=2, bridge_width=9).lanes == 4


@pytest.mark.parametrize("lanes", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["1f1b", "interleaved-1f1b", "zero-bubble", "gpipe"])
def test_the_rules_are_those_of_the_schedules_themselves(name, lanes):
    """Asks torch's own schedules, made without a process group: a rule that torch changes fails here first."""
    schedules = pytest.importorskip("torch.distributed.pipelining.schedules")
    made = {
        "gpipe": schedules.ScheduleGPipe,
        "1f1b": schedules.Schedule1F1B,
        "interleaved-1f1b": schedules.ScheduleInterleaved1F1B,
        "zero-bubble": schedules.ScheduleZBVZeroBubble,
    }[name]
    for microbatches in range(1, 20):
        try:
            _schedule(made, lanes, METHODS[name].chunks, microbatches)
        except ValueError:
            assert schedule_fault(name, lanes, microbatches), f"torch refuses M = {microbatches}"
        else:
            assert not schedule_fault(name, lanes, microbatches), f"torch takes M = {microbatches}"


def _schedule(made, lanes, chunks, microbatches):
    """Make a schedule for the first lane, from stages that only know where they stand."""
    from types import SimpleNamespace

    import torch

    stages = [
        SimpleNamespace(
            num_stages=lanes * chunks,
            stage_index=lanes * chunk,
            group_size=lanes,
            group_rank=0,
            group=None,
            device=torch.device("cpu"),
            has_backward=True,
            submod=torch.nn.Identity(),
            is_first=chunk == 0,
            is_last=False,
            stage_index_to_group_rank={},
        )
        for chunk in range(chunks)
    ]
    return made(stages if chunks > 1 else stages[0], microbatches)


NAMES = {
    "GPipe, 2 lanes, M = 4": ("gpipe", {"microbatches": 4}),
    "1F1B, 2 lanes, M = 8": ("1f1b", {"microbatches": 8}),
    "Interleaved 1F1B, 1 lane, M = 6": ("interleaved-1f1b", {"microbatches": 6, "lanes": 1}),
    "Zero bubble, 2 lanes, M = 1": ("zero-bubble", {}),
    "DDP, 2 lanes": ("ddp", {}),
    "AL + DDP, 2 replicas": ("al-ddp", {"replicas": 2, "lanes": 1}),
    "AL + DDP, 2 replicas, 2 lanes": ("al-ddp", {"replicas": 2}),
    "AL graph, 2 lanes": ("al", {"engine": "graph"}),
    "AL graph, 2 SM shares": ("al", {"engine": "graph", "lane_kind": "sm-share"}),
    "AL graph, 2 lanes of 8 SMs": ("al", {"engine": "graph", "lane_kind": "sm-share", "lane_sms": 8}),
    "BP graph": ("bp", {"engine": "graph", "lanes": 1}),
    "BP graph, 1 lane of 8 SMs": ("bp", {"engine": "graph", "lanes": 1, "lane_kind": "sm-share", "lane_sms": 8}),
    "GPipe graph, 2 lanes of 8 SMs, M = 4": (
        "gpipe",
        {"engine": "graph", "microbatches": 4, "lane_kind": "sm-share", "lane_sms": 8},
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_series_says_what_tells_it_apart(name):
    method, changes = NAMES[name]
    assert scenario(method, **changes).series == name
    assert name in scenario(method, **changes).describe()


def test_a_second_engine_is_named():
    one = Scenario(
        method="gpipe",
        engine="graph",
        hidden_layers=4,
        width=8,
        batch_size=8,
        minibatches=1,
        lanes=2,
        microbatches=2,
        device="cuda",
    )
    assert one.series == "GPipe graph, 2 lanes, M = 2"


def test_training_takes_the_fewest_microbatches_that_can_be():
    def made(**changes):
        defaults = {
            "engine": None,
            "dataset": "digits",
            "hidden_layers": 8,
            "width": 8,
            "bridge_width": None,
            "batch_size": 32,
            "epochs": 1,
            "learning_rate": 1e-3,
            "lanes": 6,
            "seed": 0,
        }
        return Recipe(**(defaults | changes)).scenario(1)

    assert made(method="gpipe").microbatches == 1
    assert made(method="1f1b").microbatches == 8, "four are fewer than six stages"
    assert made(method="bp").microbatches == 1
    assert made(method="1f1b", microbatches=16).microbatches == 16


def test_out_of_memory_is_looked_up_for_networks_that_a_shallow_one_could_not_stand_in_for():
    """Eight stages need eight layers: whoever looks for the line must not make a shallower scenario of it."""
    shallow, deep, other = (
        scenario("gpipe", lanes=8, microbatches=microbatches, hidden_layers=depth)
        for depth, microbatches in ((8, 4), (16, 4), (16, 8))
    )
    failed = record(scenario=shallow, key=shallow.key, status="out-of-memory", seconds=None)
    history = History([failed])
    assert history.out_of_memory_before(deep) is failed
    assert history.out_of_memory_before(other) is None
    assert history.out_of_memory_before(shallow) is None


@pytest.mark.parametrize(
    ("method", "engine", "lanes", "name"),
    [
        ("bp", "eager", 1, "BP, 1 thread"),
        ("bp", "eager", 2, "BP, 2 threads"),
        ("bp", "compiled", 1, "BP compiled"),
        ("bp", "compiled", 2, "BP compiled, 2 threads"),
        ("bp", "graph", 1, "BP graph"),
        ("al", "serial", 1, "AL serial"),
        ("al", "fused", 1, "AL fused"),
        ("al", "fused", 2, "AL fused, 2 threads"),
        ("al", "threads", 1, "AL threads, 1 lane"),
        ("al", "threads", 2, "AL threads, 2 lanes"),
        ("al", "graph", 4, "AL graph, 4 lanes"),
    ],
)
def test_a_line_says_what_runs_it(method, engine, lanes, name):
    """Reports on file hold these names."""
    assert scenario(method, engine=engine, lanes=lanes).series == name
