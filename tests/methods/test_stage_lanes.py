"""GPipe and 1F1B on lanes: back-propagation to the last bit, recorded or not.

On the CPU all lanes are one and nothing is recorded, but the recorder's warm-ups are run: they must leave no trace.
"""

import itertools

import pytest
import torch
from torch.nn import functional as F

from albench.engines import shares
from albench.engines.capture import no_wait_for_the_device
from albench.engines.graph import PATIENCE
from albench.engines.precision import exact_arithmetic
from albench.errors import UsageError
from albench.methods import stage_lanes
from albench.methods.stage_lanes import StageLanesTrainer
from albench.methods.trainer import TrainerOptions, accuracy_over
from albench.networks import mlp
from albench.schedule import gpipe, one_f_one_b
from tests.engines.device_runs import moved
from tests.engines.graph_runs import warmed_up
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_warm_ups")]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
CLOCKS = [gpipe, one_f_one_b]
BOTH = pytest.mark.parametrize("clock", CLOCKS)
RATE = 1e-2
replays = []
"""One entry a replay."""


@pytest.fixture
def _warm_ups(monkeypatch):
    """Run the step on the CPU as often before the first replay as the recorder would."""
    replays.clear()
    monkeypatch.setattr(stage_lanes, "record", warmed_up(stage_lanes.record, replays))


class OnCpu(StageLanesTrainer):
    device_types = frozenset({"cuda", "cpu"})


def options(**changes):
    given = {"engine": "streams", "in_features": FEATURES, "classes": CLASSES, "width": 9, "hidden_layers": 7}
    return TrainerOptions(**{**given, "learning_rate": RATE, "lanes": 4, "microbatches": 4, "seed": 3, **changes})


def trainer(clock=gpipe, *, captured=False, **changes):
    return OnCpu(options(**changes), clock=clock, captured=captured)


class Reference:
    """One process that goes through the microbatches one after the other: what a pipeline must not differ from."""

    def __init__(self, *, device="cpu", dtype=torch.float32, width=9, hidden_layers=7, microbatches=4):
        self.network = mlp(in_features=FEATURES, width=width, hidden_layers=hidden_layers, classes=CLASSES, seed=3)
        self.network.to(device=device, dtype=dtype)
        rate = torch.full((), RATE, device=device) if device == "cuda" else RATE
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, fused=True, capturable=device == "cuda")
        self._microbatches = microbatches

    def train(self, data):
        with exact_arithmetic(next(self.network.parameters()).device):
            for x, y in data:
                self._optimizer.zero_grad()
                total = 0
                count = min(self._microbatches, len(x))
                for x_m, y_m in zip(x.tensor_split(count), y.tensor_split(count), strict=True):
                    equal = len(x) % count == 0
                    loss = F.cross_entropy(self.network(x_m), y_m) / (count if equal else len(x) / len(y_m))
                    loss.backward()
                    total = total + loss.detach()
                self._optimizer.step()
        self.loss = total.item()
        return self


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    different = [name for name in found if not torch.equal(found[name], expected[name])]
    assert not different, f"{len(different)} of {len(found)} tensors differ, the first is {different[0]}"


def largest_difference(one, other):
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("device", DEVICES)
@BOTH
@pytest.mark.parametrize(("lanes", "microbatches"), [(1, 1), (1, 4), (2, 2), (3, 8), (4, 4), (8, 8)])
def test_the_first_gradients_are_those_of_one_process_with_the_same_microbatches(clock, lanes, microbatches, device):
    data = moved(batches(1, batch_size=16), device)
    expected = Reference(device=device, microbatches=microbatches).train(data)
    found = trainer(clock, lanes=lanes, microbatches=microbatches, device=device)
    found.train(data)
    assert_equal(gradients(found.network), gradients(expected.network))
    assert found.losses == [{"cross-entropy": expected.loss}]
    found.close()


def test_the_gradients_are_those_of_the_mean_loss_over_the_mini_batch():
    """Also where microbatches are unequal, and where there are fewer instances than microbatches."""
    for size in (16, 7, 3, 1):
        ((x, y),) = batches(1, batch_size=size, dtype=torch.float64)
        found = trainer(dtype=torch.float64)
        network = mlp(in_features=FEATURES, width=9, hidden_layers=7, classes=CLASSES, seed=3).double()
        F.cross_entropy(network(x), y).backward()
        found.train([(x, y)])
        for name, gradient in gradients(network).items():
            torch.testing.assert_close(gradients(found.network)[name], gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("device", DEVICES)
@BOTH
@pytest.mark.parametrize("captured", [False, True])
def test_twenty_steps_in_float64_end_with_the_weights_of_one_process(clock, captured, device):
    data = moved(batches(20, ragged=3, dtype=torch.float64), device)
    expected = Reference(device=device, dtype=torch.float64).train(data)
    found = trainer(clock, captured=captured, dtype=torch.float64, device=device)
    found.train(data)
    assert largest_difference(found.network, expected.network) <= 1e-10
    assert found.losses[0]["cross-entropy"] == pytest.approx(expected.loss, rel=1e-10)
    found.close()


@BOTH
@pytest.mark.parametrize("captured", [False, True])
def test_on_the_cpu_all_steps_are_those_of_one_process_to_the_last_bit(clock, captured):
    """An optimizer a stage is one optimizer, and recording, riding and several calls change nothing."""
    data = batches(20, ragged=3)
    expected = Reference().train(data)
    found = trainer(clock, captured=captured)
    for part in (data[:1], data[1:9], data[9:]):
        found.train(part)
    assert_equal(found.network.state_dict(), expected.network.state_dict())
    assert found.losses == [{"cross-entropy": expected.loss}]


def of_sizes(*sizes):
    return [batches(1, batch_size=size, seed=k)[0] for k, size in enumerate(sizes)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("sizes", "recordings", "replayed"),
    [
        ([8], 1, 1),
        ([8] * 9 + [3], 1, 9),
        ([8] * 3 + [5] + [8] * 3 + [5, 5], 1, 6),
        ([5] + [8] * PATIENCE + [5], 1, 2),
        ([5] + [8] * (PATIENCE + 3) + [5], 2, 4),
        ([5, 5, 8, 8] * 6, 1, 12),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else str(value),
)
def test_one_shape_is_recorded_and_others_are_launched_until_they_stay(sizes, recordings, replayed, device):
    """Whatever is recorded, the weights are those of a trainer that records nothing."""
    data = moved(of_sizes(*sizes), device)
    launched, recorded = (trainer(captured=captured, device=device) for captured in (False, True))
    launched.train(data)
    recorded.train(data)
    assert (launched.recordings, recorded.recordings, len(replays)) == (0, recordings, replayed)
    assert_equal(recorded.network.state_dict(), launched.network.state_dict())
    assert recorded.losses == launched.losses
    recorded.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("captured", [False, True])
def test_a_warmed_up_trainer_is_as_freshly_made(captured, device):
    """In place: a recording that was made while warming up trains the very weights that the network has."""
    data = moved(batches(12, ragged=3), device)
    fresh, warm = (trainer(captured=captured, device=device) for _ in range(2))
    begin = {name: tensor.clone() for name, tensor in warm.network.state_dict().items()}
    warm.warm_up(data[:3])
    assert_equal(warm.network.state_dict(), begin)
    assert warm.losses == []
    addresses = [p.data_ptr() for p in warm.network.parameters()]
    for each in (fresh, warm):
        each.train(data)
    assert_equal(warm.network.state_dict(), fresh.network.state_dict())
    assert warm.losses == fresh.losses
    assert warm.recordings == fresh.recordings == int(captured)
    assert addresses == [p.data_ptr() for p in warm.network.parameters()]


def test_a_trained_trainer_goes_back_to_where_it_was():
    data = batches(9)
    plain, warm = trainer(captured=True), trainer(captured=True)
    for each in (plain, warm):
        each.train(data[:4])
    warm.warm_up(data)
    for each in (plain, warm):
        each.train(data[4:])
    assert_equal(warm.network.state_dict(), plain.network.state_dict())


def test_a_step_that_cannot_be_recorded_leaves_the_weights_alone(monkeypatch):
    def fails(body, **_):
        body()
        raise RuntimeError("made up")

    found = trainer(captured=True)
    begin = {name: tensor.clone() for name, tensor in found.network.state_dict().items()}
    monkeypatch.setattr(stage_lanes, "record", fails)
    with pytest.raises(RuntimeError, match="made up"):
        found.train(batches(1))
    assert_equal(found.network.state_dict(), begin)
    assert found.recordings == 0


@BOTH
def test_it_learns_and_predicts(clock):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (16,), generator=generator)
    x = 0.1 * torch.randn(16, FEATURES, generator=generator)
    x[torch.arange(16), y] += 1
    before = torch.get_num_threads()
    found = trainer(clock, hidden_layers=3, width=24)
    found.train([(x, y)] * 150)
    assert torch.get_num_threads() == before
    assert accuracy_over(found, [(x, y)]) == 1.0
    assert not found.predict(x).requires_grad
    assert found.losses[0]["cross-entropy"] < 0.1


def test_what_a_record_says_of_it():
    found = trainer(lanes=3)
    assert (found.lanes, found.lane_kind, found.components) == (3, "cuda-stream", None)
    assert found.effective_parameters == sum(p.numel() for p in found.network.parameters())
    assert found.affiliated_parameters == 0
    assert trainer(lane_kind="sm-share").lane_kind == "sm-share"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 9}, "9 stages asked for and the network has 8 linear layers"),
        ({"lanes": 4, "microbatches": 3}, "microbatches is 3 and stages is 4: 1F1B needs"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_remedy(changes, message):
    with pytest.raises(UsageError, match=message):
        trainer(one_f_one_b, **{"microbatches": 16, **changes})


def test_lanes_of_a_gpu_are_refused_on_the_cpu():
    with pytest.raises(UsageError, match="engine 'graph' .* device is 'cpu': use device 'cuda'") as caught:
        StageLanesTrainer(options(engine="graph"), clock=gpipe, captured=True)
    assert "\n" not in str(caught.value)


def test_a_mini_batch_that_makes_no_sense_is_refused_before_anything_is_launched():
    found = trainer()
    data = batches(2)
    with pytest.raises(UsageError, match="mini-batch 2 holds label 99"):
        found.train([*data, (torch.zeros(2, FEATURES), torch.tensor([0, 99]))])
    assert_equal(found.network.state_dict(), Reference().train(data).network.state_dict())


def test_a_closed_trainer_has_no_lanes_to_run_on():
    found = trainer(captured=True)
    found.train(batches(2))
    found.close()
    found.predict(batches(1)[0][0])
    with pytest.raises(UsageError, match="the trainer is closed"):
        found.train(batches(1))


@pytest.mark.cuda
@BOTH
@pytest.mark.parametrize("captured", [False, True])
def test_bitwise_equal_where_lanes_really_overlap(clock, captured):
    """Actions that last long enough to overlap, and memory enough in flight to be overwritten while they do."""
    data = moved(batches(30, batch_size=512), "cuda")
    expected = Reference(device="cuda", width=1024, hidden_layers=15, microbatches=8).train(data)
    for _ in range(3):
        found = trainer(clock, captured=captured, device="cuda", width=1024, hidden_layers=15, lanes=8, microbatches=8)
        found.train(data)
        assert_equal(found.network.state_dict(), expected.network.state_dict())
        found.close()


@pytest.mark.cuda
@BOTH
@pytest.mark.parametrize("captured", [False, True])
def test_shares_of_the_multiprocessors_train_the_same_network(clock, captured):
    """On a share the libraries may pick other kernels: a tolerance."""
    if reason := shares.unavailable_reason(torch.device("cuda", torch.cuda.current_device())):
        pytest.skip(reason)
    data = moved(batches(20, ragged=3, dtype=torch.float64), "cuda")
    expected = Reference(device="cuda", dtype=torch.float64).train(data)
    found = trainer(clock, captured=captured, lane_kind="sm-share", dtype=torch.float64, device="cuda")
    found.train(data)
    assert largest_difference(found.network, expected.network) <= 1e-10
    found.close()


@pytest.mark.cuda
@pytest.mark.parametrize("captured", [False, True])
def test_the_host_never_waits_for_the_device_and_memory_stays_flat(captured):
    data = moved(batches(10, batch_size=64), "cuda")
    found = trainer(one_f_one_b, captured=captured, device="cuda", width=64)
    found.train(itertools.islice(itertools.cycle(data), 100))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    with no_wait_for_the_device():
        found.train(itertools.islice(itertools.cycle(data), 500))
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before[0]
    assert torch.cuda.memory_reserved() <= before[1]
    found.close()
