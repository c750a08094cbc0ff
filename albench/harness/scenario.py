"""Scenario: one point of a sweep, as plain data that is checked where it is made.

A scenario says everything that decides a measurement on one machine: method, engine, network, sizes, lanes, data and
seed. Its key is a hash of all of it: records are filed under the key, so a sweep that was killed knows what it has,
and a scenario that changed in any way is measured anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from albench.data import dataset_named
from albench.errors import UsageError, unknown_name
from albench.machine import LANE_KINDS, LaneKind
from albench.methods import ANY_NETWORK, FOLDED, lanes_of_one_gpu, lanes_run_components, method_named
from albench.methods.cutting import check_cut, linear_layers_of
from albench.networks import network_named
from albench.networks.spec import BRIDGE_FORMS, BridgeForm

Purpose = Literal["time", "input", "accuracy", "control"]
"""What a scenario is run for: a point of a time fit; the time with the real input pipeline on, where mini-batches are
drawn and gathered inside the window; a network trained to the end; or telling whether the machine kept its pace."""
TIMED: tuple[Purpose, ...] = ("time", "input")
"""What is timed round after round."""

PRECISIONS = ("float32", "float64")
DEVICES = ("cpu", "cuda")
SIZES = ("hidden_layers", "width", "batch_size", "minibatches", "lanes", "microbatches", "replicas")
ADDED_LATER = ("microbatches", "replicas", "device", "lane_kind", "lane_sms", "bridge", "initial_scale")
"""Fields that the first records did not have: at their defaults they are left out of the key, which stays the same."""
LARGEST = 2**31 - 1
"""No size is larger, so that n, a product of two, is a 64-bit number wherever a table holds it."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One point of a sweep."""

    method: str
    """What is compared; `albench.methods.METHODS` names them."""
    engine: str
    """What runs it, one of the method's engines."""
    hidden_layers: int
    """ℓ, the paper's depth; an AL network has ℓ/2 components, so AL takes even numbers only."""
    width: int
    """Units in each hidden layer."""
    batch_size: int
    """B, instances in a mini-batch."""
    minibatches: int
    """N, mini-batches trained in the timed window; n = N·B training instances."""
    lanes: int = 1
    """K, lanes; for BP the intra-op threads, the same hardware used another way."""
    dataset: str = "digits"
    """Where the mini-batches come from."""
    network: str = "mlp"
    """Kind of network; `albench.networks.NETWORKS` names them."""
    bridge_width: int | None = None
    """Units in the bridges' hidden layer; None: bridges of one layer. BP's twin absorbs the top bridge."""
    learning_rate: float = 1e-3
    """Adam's base rate; g and h of AL's components learn at twice this rate."""
    distinct_targets: bool | Literal["auto"] = "auto"
    """Whether AL runs the target side on the distinct rows of a mini-batch only."""
    precision: str = "float32"
    """Floating-point type of weights and data."""
    seed: int = 0
    """Seed of weights and of the order of the data."""
    purpose: Purpose = "time"
    """"time": a point of a time sweep; "input": the same with its input pipeline on; "accuracy": trained to the end;
    "control": the case that watches the machine."""
    microbatches: int = 1
    """M, microbatches that each mini-batch is cut into; only for methods that do that."""
    replicas: int = 1
    """Copies of the network that train on a share of each mini-batch; only for methods that do that."""
    device: str = "cpu"
    """Where it runs: "cpu" or "cuda"."""
    lane_kind: LaneKind = "stream"
    """What a lane of one GPU is: a stream, or a stream on a share of the multiprocessors that is its own. It means
    nothing to engines without such lanes."""
    lane_sms: int | None = None
    """Multiprocessors of each share, so that lanes are of one size however many there are; None: an even split."""
    bridge: BridgeForm = "flat"
    """How bridges read feature maps: "flat", every number, or "pooled", one mean a channel."""
    initial_scale: float = 1.0
    """Deviation of the initial weights of AL's sigmoid layers, all b, g and h, in He's; 1 for who has none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, in one line."""
        method = method_named(self.method)
        if self.engine not in method.engines:
            raise unknown_name(f"engine of method {self.method!r}", self.engine, method.engines)
        dataset_named(self.dataset)
        self._check_network()
        if self.device not in DEVICES:
            raise unknown_name("device", self.device, DEVICES)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.lane_kind not in LANE_KINDS:
            raise unknown_name("lane kind", self.lane_kind, LANE_KINDS)
        if self.lane_kind == "sm-share" and not lanes_of_one_gpu(self.method, self.engine):
            raise UsageError(
                f"lane kind is 'sm-share': {method.title} {self.engine} has no lanes on one GPU, give lane kind "
                "'stream', or engine 'streams' or 'graph' of a method that has lanes there"
            )
        if self.lane_kind == "sm-share" and self.method == "bp" and self.lanes > 1:
            raise UsageError(f"lanes is {self.lanes}: BP runs on one share of the multiprocessors, give 1")
        if self.lane_sms is not None and self.lane_kind != "sm-share":
            raise UsageError(f"lane SMs is {self.lane_sms}: give lane kind 'sm-share' with it")
        if self.lane_sms is not None and self.lane_sms < 1:
            raise UsageError(f"lane SMs is {self.lane_sms}: give at least 1, or none for an even split")
        for name in (*SIZES, "bridge_width", "lane_sms", "seed"):
            if abs(getattr(self, name) or 0) > LARGEST:
                raise UsageError(f"{name.replace('_', ' ')} is too large: give a whole number of at most {LARGEST}")
        for name in SIZES:
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name.replace('_', ' ')} is {value}: give a whole number of at least 1")
        if self.bridge_width is not None and self.bridge_width < 1:
            raise UsageError(f"bridge width is {self.bridge_width}: give at least 1, or none for one-layer bridges")
        if self.hidden_layers % 2 and (self.method in FOLDED or self.bridge_width is not None):
            fewer = f"{self.hidden_layers - 1} or " if self.hidden_layers > 1 else ""
            why = f"{method.title} folds" if self.method in FOLDED else "a bridge in the middle needs"
            raise UsageError(
                f"hidden layers is {self.hidden_layers}: {why} an even number of hidden layers, "
                f"try {fewer}{self.hidden_layers + 1}"
            )
        check_cut(
            self.method,
            lanes=self.lanes,
            batch_size=self.batch_size,
            microbatches=self.microbatches,
            replicas=self.replicas,
            linear_layers=linear_layers_of(self.hidden_layers, bridges=self.bridge_width is not None),
        )
        if not 0 < self.initial_scale < 100:
            raise UsageError(f"initial scale is {self.initial_scale}: give a number above 0 and below 100")
        if self.initial_scale != 1 and self.method not in FOLDED:
            raise UsageError(
                f"initial scale is {self.initial_scale}: it is of AL's sigmoid layers and {method.title} has none, "
                "give 1"
            )
        if not 0 < self.learning_rate < 10:
            raise UsageError(f"learning rate is {self.learning_rate}: give a number above 0 and below 10")

    def _check_network(self) -> None:
        """Refuse an unknown network, one that the method does not take, and what does not go with its kind."""
        entry = network_named(self.network)
        if self.network != "mlp" and self.method not in ANY_NETWORK:
            raise UsageError(
                f"network is {self.network!r}: {method_named(self.method).title} takes 'mlp' only, give that or a "
                f"method of {', '.join(name for name in ANY_NETWORK if name != 'idle')}"
            )
        if entry.hidden_layers not in (None, self.hidden_layers):
            raise UsageError(
                f"hidden layers is {self.hidden_layers}: network {self.network!r} has {entry.hidden_layers}, "
                "give that or leave it out"
            )
        if self.bridge not in BRIDGE_FORMS:
            raise unknown_name("bridge", self.bridge, BRIDGE_FORMS)
        if self.bridge == "pooled" and not entry.images:
            raise UsageError(f"bridge is 'pooled': network {self.network!r} has no feature maps to pool, give 'flat'")

    @property
    def instances(self) -> int:
        """n, the training instances of the timed window."""
        return self.minibatches * self.batch_size

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that stand for all of the above."""
        # Every field is plain, so no deep copy is needed, which takes as long as the rest of reading a record.
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for field in dataclasses.fields(self):
            if field.name in ADDED_LATER and fields[field.name] == field.default:
                del fields[field.name]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def series(self) -> str:
        """The line of a figure that this point belongs to, such as "AL serial", "BP, 2 threads" or "BP compiled"."""
        title = method_named(self.method).title
        if self.method not in ("al", "bp"):
            return self._baseline_series(title)
        name = title if (self.method, self.engine) == ("bp", "eager") else f"{title} {self.engine}"
        threads_unsaid = self.engine in ("fused", "fused-compiled") or (self.method == "bp" and self.engine != "eager")
        on_a_share = self.lane_kind == "sm-share"
        if self.engine == "serial" or (threads_unsaid and self.lanes == 1 and not on_a_share):
            return name
        if on_a_share or lanes_run_components(self.method, self.engine):
            return f"{name}, {self._so_many_lanes}"
        return f"{name}, {self.lanes} thread{'' if self.lanes == 1 else 's'}"

    @property
    def _so_many_lanes(self) -> str:
        lane = "lane" if self.lane_kind == "stream" or self.lane_sms else "SM share"
        size = f" of {self.lane_sms} SMs" if self.lane_sms else ""
        return f"{self.lanes} {lane}{'' if self.lanes == 1 else 's'}{size}"

    def _baseline_series(self, title: str) -> str:
        """The series of a method beside AL and BP: its engine goes without saying where it is the method's first."""
        method = method_named(self.method)
        parts = [title if self.engine == method.engines[0] else f"{title} {self.engine}"]
        if self.method == "al-ddp":
            parts.append(f"{self.replicas} replica{'' if self.replicas == 1 else 's'}")
        if self.method != "al-ddp" or self.lanes > 1:
            parts.append(self._so_many_lanes)
        if method.microbatches:
            parts.append(f"M = {self.microbatches}")
        return ", ".join(parts)

    def describe(self) -> str:
        """One line for progress and error messages."""
        kind = "" if self.network == "mlp" else f", {self.network}{'' if self.bridge == 'flat' else ' pooled'}"
        sizes = f"ℓ = {self.hidden_layers}, width {self.width}, batch {self.batch_size} × {self.minibatches}"
        rows = (
            "" if self.distinct_targets == "auto" else f", distinct targets {'on' if self.distinct_targets else 'off'}"
        )
        scale = "" if self.initial_scale == 1 else f", initial weights × {self.initial_scale:g}"
        return f"{self.series}{kind}{rows}{scale}, {sizes}{', input pipeline on' if self.purpose == 'input' else ''}"
