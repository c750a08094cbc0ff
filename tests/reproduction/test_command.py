"""`albench reproduce` as a user meets it, on tiny recipes: pages, partial results, and what is refused in one line."""

import csv

import pytest
from typer.testing import CliRunner

from albench import cli
from albench.commands.reproducing import rates
from albench.report import embedding
from albench.reproduction import execution
from albench.reproduction.plan import RunPlan
from albench.reproduction.runs import Choices, recipe_for

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("tiny_recipes")]


def reproduce(*arguments):
    return CliRunner().invoke(cli.app, ["reproduce", *map(str, arguments), "--no-progress"])


def rows_of(out, target):
    with (out / target / "summary.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_table_is_trained_shown_and_gone_on_with(tmp_path):
    asked = ["table2", "--networks", "mlp", "--seeds", "0", "--out", tmp_path]
    result = reproduce(*asked)
    assert result.exit_code == 0, result.output
    assert "Runs: 3 (0 finished, 3 to train), about" in result.output
    assert "Of the paper's 5 numbers 3 are there, 0 of them by the whole recipe." in result.output
    assert "1 seed" in result.output
    rows = rows_of(tmp_path, "table2")
    assert [(row["method"], row["paper"], row["seeds"], row["remarks"]) for row in rows] == [
        ("bp", "98.5", "0", "1 seed"), ("al", "98.6", "0", "1 seed"), ("dtp", "96.43", "0", "1 seed")
    ]  # fmt: skip
    assert all(0 < float(row["here"]) < 100 for row in rows)
    page = (tmp_path / "table2" / "index.html").read_text(encoding="utf-8")
    assert "Table 2: test accuracy on MNIST" in page
    assert "mnist-mlp-dtp-seed-0" in page
    again = reproduce(*asked)
    assert "All runs are finished (3): nothing is left to train." in again.output
    assert "epoch 1/2" not in again.output
    assert rows_of(tmp_path, "table2") == rows
    more = reproduce(*asked[:-4], "--seeds", "0,1", "--methods", "bp", "--out", tmp_path)
    assert "Runs: 2 (1 finished, 1 to train)," in more.output
    assert [row["seeds"] for row in rows_of(tmp_path, "table2")] == ["0 1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, (None, {})),
        ("5e-4", (5e-4, {})),
        ("5e-4, dtp=1e-4", (5e-4, {"dtp": 1e-4})),
        ("al=1e-3,bp=2e-3", (None, {"al": 1e-3, "bp": 2e-3})),
    ],
)
def test_a_rate_is_for_all_or_for_one_method(text, found):
    """DTP falls apart at a rate that AL and BP learn best at: one page must be able to show all three."""
    assert rates(text, ("bp", "al", "dtp")) == found
    for method in ("al", "dtp"):
        plan = RunPlan(dataset="mnist", network="mlp", method=method)
        own = recipe_for(plan).learning_rate
        choices = Choices(learning_rate=found[0], method_rates=found[1])
        assert recipe_for(plan, choices).learning_rate == found[1].get(method, found[0] or own)


@pytest.mark.parametrize("text", ["fast", "al=", "al=fast", "1e-3,2e-3", "ddp=1e-3", "=1e-3", "al=-1", "nan"])
def test_a_rate_that_is_none_is_refused_in_a_line(text, tmp_path):
    result = reproduce("table2", "--learning-rate", text, "--out", tmp_path)
    assert result.exit_code == 2
    assert result.output.startswith("albench: ")
    assert result.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_run_trains_nothing(tmp_path):
    result = reproduce("table6", "--components", "1,2", "--seeds", "0", "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "Runs: 2 (0 finished, 2 to train), about" in result.output
    assert not (tmp_path / "out").exists()


def test_tables_of_depth_share_their_runs(tmp_path):
    assert reproduce("table6", "--components", "1,2,4", "--seeds", "0", "--out", tmp_path).exit_code == 0
    result = reproduce("table5", "--components", "1,2", "--seeds", "0", "--out", tmp_path)
    assert "All runs are finished (2)" in result.output
    assert [(row["components"], row["layer"]) for row in rows_of(tmp_path, "table5")] == [
        ("1", "1"), ("2", "1"), ("2", "2")
    ]  # fmt: skip
    deep = rows_of(tmp_path, "table6")
    assert [(row["components"], row["quantity"], row["paper"]) for row in deep if row["components"] == "4"] == [
        ("4", "training accuracy", ""), ("4", "test accuracy", "")
    ]  # fmt: skip


def test_what_was_interrupted_is_shown_as_far_as_it_came(tmp_path, monkeypatch):
    finish = execution.training.train

    def once(recipe, **options):
        if recipe.method == "al":
            raise KeyboardInterrupt
        return finish(recipe, **options)

    monkeypatch.setattr(execution.training, "train", once)
    result = reproduce("table2", "--networks", "mlp", "--seeds", "0", "--out", tmp_path)
    assert result.exit_code == 130
    assert [bool(row["here"]) for row in rows_of(tmp_path, "table2")] == [True, False, False]
    text = (tmp_path / "table2" / "summary.md").read_text(encoding="utf-8")
    assert "Not begun: mnist-mlp-al-seed-0 and mnist-mlp-dtp-seed-0." in text


def test_table_7_and_figure_5_come_from_the_same_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "embed", lambda x, seed: x[:, :2])  # t-SNE itself has tests of its own
    asked = ["--networks", "mlp", "--seeds", "0", "--out", tmp_path]
    assert reproduce("table7", "--datasets", "cifar10", *asked).exit_code == 0
    rows = rows_of(tmp_path, "table7")
    assert [(row["method"], row["quantity"]) for row in rows][:3] == [
        ("bp", "inter-class distance"), ("bp", "intra-class distance"), ("bp", "ratio")
    ]  # fmt: skip
    for method in ("bp", "al"):
        inter, intra, ratio = (float(row["here"]) for row in rows if row["method"] == method)
        assert ratio == pytest.approx(inter / intra)
    result = reproduce("figure5", "--instances", "40", *asked[2:])
    assert result.exit_code == 0, result.output
    assert "All runs are finished (2)" in result.output
    assert "t-SNE of 40 instances, 7 times" in result.output
    assert {file.name for file in (tmp_path / "figure5" / "figures").iterdir()} == {"figure5.svg", "figure5.png"}
    page = (tmp_path / "figure5" / "index.html").read_text(encoding="utf-8")
    assert "40 instances of 360 instances are drawn" in page
    assert "data:image/svg+xml;base64," in page


BAD = {
    "table": (["table9"], "unknown table or figure 'table9'"),
    "network": (["table2", "--networks", "vgg"], "table2 has no network 'vgg'"),
    "seeds": (["table2", "--seeds", "a"], "--seeds is 'a'"),
    "epochs": (["table2", "--epochs", "0"], "epochs is 0"),
    "batch size": (["table2", "--batch-size", "0"], "batch size is 0"),
    "rate": (["table2", "--learning-rate", "-1"], "learning rate is -1.0"),
    "device": (["table2", "--device", "tpu"], "unknown device 'tpu'"),
    "a number of components twice": (
        ["table6", "--components", "1,2,1"],
        "components are 1, 2, 1: give each number once",
    ),
    "a method's rate twice": (["table2", "--learning-rate", "al=1,al=2"], "give one rate for al"),
    "a rate for nobody": (["table2", "--methods", "bp", "--learning-rate", "al=1e-3"], "known are bp"),
    "a stand-in for nothing": (["table2", "--cifar", "digits"], "none of these runs is on it: leave it out"),
    "too few instances": (["figure5", "--instances", "9"], "9 instances cannot be drawn: give at least 10"),
    "stand-in": (["table3", "--cifar", "cifer10", "--networks", "mlp"], "did you mean 'cifar10'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(case, tmp_path, capfd):
    arguments, words = BAD[case]
    result = reproduce(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    told = result.output + capfd.readouterr().err
    assert words in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("mine")
    result = reproduce("table2", "--networks", "mlp", "--seeds", "0", "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"albench: {tmp_path / 'file'} cannot be written (File exists): give another directory with --out\n"
    )
