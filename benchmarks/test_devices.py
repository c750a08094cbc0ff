"""Time against the number of devices: lanes of this machine's cores, or GPUs where there are some.

Claim: with K lanes AL trains a deep network up to K times as fast as with one, and scales no worse than pipelined BP
(GPipe, 1F1B) and data parallelism (DDP) on the same lanes, where arithmetic rules.
"""

import torch

from albench.harness.grid import BP, Contender, Grid, al_ranks, pipelines
from albench.harness.scenario import Scenario
from albench.harness.suites import DEVICES_LAYERS, LARGE, lane_counts, suite_scenarios


def on_gpus(gpus: int) -> list[Scenario]:
    """Return the suite's question for 1, 2, 4 … GPUs, with a process on each: the suite itself asks it of cores."""
    teams = [
        team
        for count in lane_counts(gpus)
        for team in (al_ranks(count), Contender(method="ddp", engine="ranks", lanes=count))
    ]
    cut = [one for count in lane_counts(gpus) for one in pipelines(count, DEVICES_LAYERS + 1) if one.method == "gpipe"]
    grid = Grid(
        contenders=(BP, *teams, *cut), hidden_layers=(DEVICES_LAYERS,), minibatches=(24,), device="cuda", **LARGE
    )
    return grid.scenarios()


SCENARIOS = on_gpus(torch.cuda.device_count()) if torch.cuda.device_count() else suite_scenarios("devices")


def test_devices(measure, scenario):
    measure(scenario)
