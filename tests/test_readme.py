"""The README's own method: it must run as it stands there, and stacked once it says what the README says."""

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


def blocks():
    """Return the section's code: the component and its network, and the lines that make it stackable."""
    section = README.read_text(encoding="utf-8").split("## Add a method")[1].split("\n## ")[0]
    whole, change = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return whole, change


def module(source, tmp_path, monkeypatch, name):
    """Import source from a file: processes that train it must be able to, too."""
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


def trained(name, made, data, **options):
    torch.manual_seed(0)
    with make_engine(name, made.MyNetwork(), learning_rate=1e-2, **options) as engine:
        engine.fit(data)
        return engine.state_dict()


def test_the_method_is_trained_as_it_stands_there(tmp_path, monkeypatch):
    made = module(blocks()[0], tmp_path, monkeypatch, "readme_method")
    data = batches(10, ragged=3, features=64)
    serial = trained("serial", made, data)
    for name in ("threads", "ranks"):
        assert_bitwise_equal(serial, trained(name, made, data, lanes=2))
    with pytest.raises(UsageError, match="MyComponent does not declare `stackable = True`"):
        trained("fused", made, data)


def test_the_method_is_stacked_once_it_says_what_stands_there(tmp_path, monkeypatch):
    whole, change = blocks()
    promise, loss = change.split("        ...\n")
    stacked = re.sub(r" +loss = F.cross_entropy.*\n", lambda match: loss, whole)
    stacked = stacked.replace(
        "class MyComponent(torch.nn.Module):\n", f"class MyComponent(torch.nn.Module):\n{promise}"
    )
    made = module(stacked, tmp_path, monkeypatch, "readme_stacked_method")
    plain = module(whole, tmp_path, monkeypatch, "readme_plain_method")
    data = batches(10, ragged=3, features=64)
    serial = trained("serial", plain, data)
    assert largest_difference(serial, trained("fused", made, data, lanes=1)) <= 1e-5
    hasty = module(
        whole.replace("    def __init__", f"{promise}    def __init__", 1), tmp_path, monkeypatch, "readme_hasty"
    )
    with pytest.raises(UsageError, match="does not keep its promise `stackable`.*each loss must come back as"):
        trained("fused", hasty, data, lanes=1)
