"""What goes wrong while an engine runs."""

from __future__ import annotations


class ComponentError(RuntimeError):
    """A task raised. Carries the components and the mini-batch; the cause is chained."""

    def __init__(self, components: range, minibatch: int, cause: BaseException) -> None:
        self.components = components
        self.component = components[0]
        self.minibatch = minibatch
        self._cause = cause
        name = f"component {components[0]}" if len(components) == 1 else f"components {components[0]}-{components[-1]}"
        super().__init__(f"{name} failed on mini-batch {minibatch}: {type(cause).__name__}: {cause}")

    def __reduce__(self) -> tuple[type[ComponentError], tuple[range, int, BaseException]]:
        """Let the error cross from a process to its parent: an exception is rebuilt from its message otherwise."""
        return type(self), (self.components, self.minibatch, self._cause)


class RankError(RuntimeError):
    """A process of a job failed or died, and the job with it. Carries its rank and the reason."""

    def __init__(self, rank: int, reason: str) -> None:
        self.rank = rank
        self.reason = reason
        super().__init__(f"rank {rank} {reason}")

    def __reduce__(self) -> tuple[type[RankError], tuple[int, str]]:
        """Let the error cross from a process to its parent."""
        return type(self), (self.rank, self.reason)


class PeerGoneError(ConnectionError):
    """A link between two processes broke. The job knows, or will know, which of them died and why."""

    peer: int | None = None
    """The rank on the other side, where that is known."""
