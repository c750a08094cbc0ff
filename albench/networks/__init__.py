"""Networks: each file builds the folded AL network and its BP twin."""

from albench.networks.mlp import associated_mlp, mlp

__all__ = ["associated_mlp", "mlp"]
