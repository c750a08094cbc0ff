"""albench: pipelined Associated Learning, and the benchmark that judges it.

Associated Learning (Kao & Chen, 2021) cuts a deep network into components that each have a local objective, so
that all components can be updated at once, as a pipeline: training time O(n+ℓ) instead of back-propagation's O(nℓ).
Nothing is imported here: ``from albench.engines import make_engine`` trains a network with nothing else loaded.
"""

__version__ = "0.1.0"
