"""The local objective (Eq. 7): associated loss plus autoencoder loss, and the targets that it needs.

    local objective of component i = ‖b_i(s_i) - t_i‖² + ‖h_i(t_i) - t_{i-1}‖²

Both norms are means over mini-batch and features, as in the authors' code. The first term moves f_i and b_i only,
the second g_i and h_i only: t_i is detached where it is a target.

**Few distinct targets.** t_0 is one-hot, so B labels hold at most C distinct rows, and since g works row by row so
does every t_i. Running g and h on C rows instead of B, with each row's loss weighted by its share of the mini-batch,
gives the same gradient at C/B of the work. The rows are always all C classes, a class that is absent weighing
nothing: shapes stay the same from one mini-batch to the next, which stacking and capturing engines need.

Shape letters: B instances, C classes, R target rows (C when distinct, else B), W width. Every function also accepts
one more leading dimension K, one entry a component, and then returns one loss a component.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

DistinctTargets = bool | Literal["auto"]


class TargetRows(NamedTuple):
    """t_i of a mini-batch as rows and who uses them."""

    rows_RW: Tensor
    """The target rows."""
    index_B: Tensor | None = None
    """Row of each instance; None: row j belongs to instance j."""
    share_R: Tensor | None = None
    """Share of the mini-batch that uses each row, summing to 1; None: each row the same."""

    def of_instances(self) -> Tensor:
        """Return t_i with one row an instance, ``[B, W]``."""
        if self.index_B is None:
            return self.rows_RW
        if self.rows_RW.dim() == 2:
            return self.rows_RW.index_select(0, self.index_B)
        # Stacked: one flat index_select over K·R rows is several times faster on a CPU than gather.
        stack, rows, width = self.rows_RW.shape
        offset_K1 = torch.arange(0, stack * rows, rows, device=self.index_B.device).unsqueeze(1)
        flat = self.rows_RW.reshape(stack * rows, width).index_select(0, (self.index_B + offset_K1).reshape(-1))
        return flat.reshape(stack, -1, width)


def one_hot_target(
    labels_B: Tensor, classes: int, *, dtype: torch.dtype, distinct_targets: DistinctTargets
) -> TargetRows:
    """Return t_0 of a mini-batch of labels in [0, C).

    `distinct_targets`: True for the C distinct rows, False for one row an instance, "auto" for whichever is fewer.
    """
    identity_CC = torch.eye(classes, dtype=dtype, device=labels_B.device)
    distinct = classes < labels_B.shape[0] if distinct_targets == "auto" else distinct_targets
    if not distinct:
        return TargetRows(identity_CC.index_select(0, labels_B))
    # Counted by comparing: bincount would make the host wait for the device.
    count_C = (labels_B.unsqueeze(1) == torch.arange(classes, device=labels_B.device)).sum(0)
    share_C = count_C.to(dtype) / labels_B.shape[0]
    return TargetRows(identity_CC, labels_B, share_C)


def associated_loss(bridged_BW: Tensor, target_BW: Tensor) -> Tensor:
    """Return ‖b_i(s_i) - t_i‖² (Eq. 3), the mean over instances and features."""
    if bridged_BW.dim() == 2:
        return F.mse_loss(bridged_BW, target_BW)
    return F.mse_loss(bridged_BW, target_BW, reduction="none").mean((-2, -1))


def autoencoder_loss(decoded_RW: Tensor, target: TargetRows) -> Tensor:
    """Return ‖h_i(t_i) - t_{i-1}‖² (Eq. 6), the mean over instances and features."""
    if target.share_R is None:
        return associated_loss(decoded_RW, target.rows_RW)
    error_R = F.mse_loss(decoded_RW, target.rows_RW, reduction="none").mean(-1)
    return (error_R * target.share_R).sum(-1)
