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
