"""The README's own method: what stands there runs as it stands there, word for word."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from albench.engines import make_engine
from albench.errors import UsageError
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference

pytestmark = pytest.mark.timeout(120)
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The section's code as a module, imported from a file: processes that train it must be able to, too."""
    section = README.read_text(encoding="utf-8").split("## Add a method")[1].split("\n## ")[0]
    method, stacked = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    name = f"readme_method_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(method + stacked, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


def trained(name, network, data, **options):
    with make_engine(name, network, learning_rate=1e-2, **options) as engine:
        engine.fit(data)
        return engine.state_dict()


def network(made, component):
    torch.manual_seed(0)
    return made.MyNetwork(component)


@pytest.mark.parametrize("component", ["MyComponent", "MyStackableComponent"])
def test_the_method_is_trained(made, component):
    data = batches(10, ragged=3, features=64)
    serial = trained("serial", network(made, getattr(made, component)), data)
    for name in ("threads", "ranks"):
        assert_bitwise_equal(serial, trained(name, network(made, getattr(made, component)), data, lanes=2))


def test_the_method_is_stacked_once_it_promises(made):
    data = batches(10, ragged=3, features=64)
    with pytest.raises(UsageError, match="MyComponent does not declare `stackable = True`"):
        make_engine("fused", made.MyNetwork())
    serial = trained("serial", network(made, made.MyComponent), data)
    fused = trained("fused", network(made, made.MyStackableComponent), data, lanes=1)
    assert largest_difference(serial, fused) <= 1e-5


def test_a_promise_that_is_not_kept_is_refused(made):
    class Hasty(made.MyComponent):
        stackable = True

    with pytest.raises(UsageError, match="does not keep its promise `stackable`.*each loss must come back as"):
        trained("fused", made.MyNetwork(Hasty), batches(2, features=64), lanes=1)
