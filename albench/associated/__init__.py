"""Associated Learning as the paper has it: component, objective, network. Engines and measurements are elsewhere."""

from albench.associated.component import AssociatedComponent
from albench.associated.network import AssociatedNetwork
from albench.associated.objective import TargetRows, associated_loss, autoencoder_loss, one_hot_target

__all__ = [
    "AssociatedComponent",
    "AssociatedNetwork",
    "TargetRows",
    "associated_loss",
    "autoencoder_loss",
    "one_hot_target",
]
