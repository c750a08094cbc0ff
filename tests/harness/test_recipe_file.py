"""Recipe files: those of the paper say what paper and code say, and what is wrong in a user's is said in one line."""

from pathlib import Path

import pytest

from albench.errors import UsageError
from albench.harness.rates import SteppedRate
from albench.harness.recipe_file import DEFAULTS, descriptions, recipe_of, values_of
from tests.harness.test_rates import PAPER

MINE = """
description = "mine"
width = 16
epochs = 4
learning_rate = 0.01
rate_steps = [{ at = 0.5, factor = 0.1 }]
epsilon = "tensorflow"

[al]
engine = "threads"
weight_decay = 1e-3

[bp]
learning_rate = 0.02
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_command_line_before_method_before_file_before_defaults(written):
    file = written(MINE)
    al, bp = (recipe_of(file, method=method, epochs=6, width=None) for method in ("al", "bp"))
    assert (al.epochs, al.width, al.learning_rate, al.weight_decay, al.engine) == (6, 16, 0.01, 1e-3, "threads")
    assert (bp.epochs, bp.width, bp.learning_rate, bp.weight_decay, bp.engine) == (6, 16, 0.02, 0.0, None)
    assert (al.batch_size, al.dataset, al.hidden_layers) == (32, "digits", 4)
    assert al.rate(100) == SteppedRate(base=0.01, steps=al.rate_steps, minibatches=100)
    assert al.rate(100)(50) == pytest.approx(0.001)


def test_without_a_recipe_training_is_what_it_was():
    plain = recipe_of(None, method="al")
    assert {name: getattr(plain, name) for name in DEFAULTS} == DEFAULTS
    assert plain.rate(100) == 1e-3
    assert (plain.epsilon, plain.weight_decay, plain.augmentation, plain.network) == ("torch", 0.0, "none", "mlp")


PAPERS = {
    "mnist-mlp": (1024, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "mnist-cnn": (256, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "cifar10-mlp": (3000, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "cifar10-cnn": (256, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "cifar10-vgg": (300, {"al": (1e-4, 1e-5), "bp": (1e-4, 5e-4)}),
    "cifar10-resnet20": (300, {"al": (1e-4, 1e-4), "bp": (1e-3, 1e-4)}),
    "cifar10-resnet32": (300, {"al": (1e-4, 1e-4), "bp": (1e-3, 1e-4)}),
    "cifar100-mlp": (3000, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "cifar100-cnn": (500, {"al": (1e-4, 0.0), "bp": (1e-4, 0.0)}),
    "cifar100-vgg": (500, {"al": (1e-4, 1e-5), "bp": (1e-4, 5e-4)}),
    "cifar100-resnet20": (500, {"al": (1e-4, 5e-4), "bp": (1e-3, 5e-4)}),
    "cifar100-resnet32": (500, {"al": (1e-4, 5e-4), "bp": (1e-3, 5e-4)}),
}
"""Width, and by method rate and L2, as the authors' code has them."""


def test_there_is_a_recipe_for_every_row_of_tables_2_to_4():
    assert descriptions().keys() == PAPERS.keys()


@pytest.mark.parametrize("method", ["al", "bp"])
@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_of_the_paper_is_what_its_authors_ran(name, method):
    width, by_method = PAPERS[name]
    recipe = recipe_of(name, method=method)
    assert name == f"{recipe.dataset}-{recipe.network}"
    assert (recipe.width, recipe.bridge_width, recipe.bridge) == (width, 5 * width, "flat")
    assert (recipe.learning_rate, recipe.weight_decay) == by_method[method]
    assert recipe.rate_steps == PAPER
    assert (recipe.batch_size, recipe.epochs, recipe.epsilon) == (32, 200, "tensorflow")
    assert recipe.hidden_layers == (4 if recipe.network == "mlp" else 8)
    assert recipe.decayed == ("convolutions" if recipe.weight_decay else "all")
    assert recipe.augmentation == ("none" if recipe.dataset == "mnist" else "cifar")


@pytest.mark.parametrize("name", ["mnist-mlp", "cifar10-mlp"])
def test_dtp_has_the_network_and_the_data_and_settings_of_its_own(name):
    """The paper compares with it on these two, and publishes no setting of it."""
    dtp, bp = (recipe_of(name, method=method) for method in ("dtp", "bp"))
    assert (dtp.width, dtp.bridge_width, dtp.dataset, dtp.epochs) == (bp.width, bp.bridge_width, bp.dataset, bp.epochs)
    assert (dtp.rate_steps, dtp.epsilon, dtp.weight_decay) == ((), "torch", 0.0)


def test_dtp_is_for_these_two_alone():
    with pytest.raises(UsageError, match="recipe mnist-cnn is for al and bp, and method is 'dtp': give one of these"):
        recipe_of("mnist-cnn", method="dtp")


WRONG = {
    "an unknown key": ("widht = 3", "mine.toml: unknown key 'widht': did you mean 'width'"),
    "a wrong type": ('width = "wide"', "mine.toml: width is 'wide': give a whole number"),
    "an unknown key of a method": ("[al]\nrate = 3", "mine.toml, al: unknown key 'rate'"),
    "data of a method": ('[al]\ndataset = "mnist"', "mine.toml, al: unknown key 'dataset'"),
    "a step that is none": ("rate_steps = [0.5]", "rate_steps is .*: give a list of tables, such as"),
    "a step at an epoch": ("rate_steps = [{ at = 80, factor = 0.1 }]", "at 80.0: give a share of all mini-batches"),
    "a step that stops": ("rate_steps = [{ at = 0.5, factor = 0 }]", "has factor 0.0: give a number above 0"),
    "an unknown key of a step": (
        "rate_steps = [{ at = 0.5, factor = 0.1, to = 1 }]",
        "rate_steps is .*: give a list of",
    ),
    "an unknown method": ("[all]\nwidth = 3", "mine.toml: unknown method 'all': did you mean 'al'"),
    "a method that is no table": ("al = 3", r"mine.toml: al is 3: give a table, \[al\]"),
    "steps out of order": (
        "rate_steps = [{ at = 0.5, factor = 0.1 }, { at = 0.4, factor = 0.1 }]",
        "a step of the rate is at 0.4 and follows one at 0.5",
    ),
    "another method's": ("[bp]\nwidth = 3", "mine.toml is for bp, and method is 'al': give one of these"),
    "no TOML": ("width", "mine.toml is not TOML"),
    "no such decay": ('decayed = "convolution"', 'decayed is \'convolution\': give "all" or "convolutions"'),
    "no such epsilon": ('epsilon = "torsh"', "unknown epsilon 'torsh': did you mean 'torch'"),
    "no such augmentation": ('augmentation = "cifer"', "unknown augmentation 'cifer': did you mean 'cifar'"),
    "no such network": ('network = "resnet"', "unknown network 'resnet'"),
    "a depth that a network has not": ('network = "cnn"\nhidden_layers = 4', "'cnn' has 8, give that or leave it out"),
    "no such data set": ('dataset = "minst"', "unknown data set 'minst'"),
    "a decay below zero": ("weight_decay = -1.0", "weight decay is -1.0"),
    "nothing to pool": ('bridge = "pooled"', "network 'mlp' has no feature maps to pool, give 'flat'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_file_is_said_in_one_line(written, name):
    text, words = WRONG[name]
    with pytest.raises(UsageError, match=words) as caught:
        recipe_of(written(text), method="al")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [("mnist-mpl", "unknown recipe 'mnist-mpl': did you mean 'mnist-mlp'"), ("/nowhere.toml", "cannot be read")],
)
def test_a_recipe_that_is_not_there(name, words):
    with pytest.raises(UsageError, match=words):
        recipe_of(name, method="al")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "gpipe", "weight_decay": 1e-3}, "GPipe takes neither, give 0 and 'torch'"),
        ({"method": "ddp", "epsilon": "tensorflow"}, "DDP takes neither"),
        ({"method": "gpipe", "network": "cnn"}, "network is 'cnn': GPipe takes 'mlp' only"),
        ({"method": "alx"}, "unknown method 'alx'"),
    ],
)
def test_what_a_method_has_no_use_for_is_refused(given, words):
    with pytest.raises(UsageError, match=words):
        recipe_of(None, **given)


def test_steps_are_for_methods_that_follow_them(written):
    with pytest.raises(UsageError, match="the rate has 1 steps: DDP trains at one rate, give method al or bp or dtp"):
        recipe_of(written("rate_steps = [{ at = 0.5, factor = 0.1 }]"), method="ddp")


def test_the_example_of_the_docstring_is_one(written):
    from albench.harness import recipe_file

    lines = [line[4:] for line in recipe_file.__doc__.splitlines() if line.startswith("    ") or not line]
    text = "\n".join(lines).strip()
    assert "[bp]" in text
    assert values_of(written(text), "bp")["learning_rate"] == 1e-3


def test_recipes_are_shipped_with_the_package():
    """A wheel that is built from the package's folder holds whatever git does not ignore."""
    import albench.recipes

    assert {file.stem for file in Path(albench.recipes.__file__).parent.glob("*.toml")} == PAPERS.keys()
