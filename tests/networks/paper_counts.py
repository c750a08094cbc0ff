"""Parameters of the paper's networks, part by part, worked out by hand from the shapes in the published code.

A 3 × 3 convolution has 9·in·out + out parameters, a linear layer in·out + out, BatchNorm 2 a channel or unit. The
bridge of a map of m numbers has m·5W + 5W + 5W·W + W. What is `printed` are the same numbers as read off that code, in
millions to so many digits: f, b_1 … b_L, g, h and all of AL. Those of prediction path and BP twin are known exactly.

Effective parameters of AL are those of f, h and the last b. They are the twin's in mlp and cnn only:

    AL effective / BP    CIFAR-10: resnet20 6.50, resnet32 5.67, vgg 1.15    CIFAR-100: 5.03, 4.74, 1.04
    AL in all / BP       mlp 1.8 – 1.9, cnn 13 – 14, resnets 44 – 64, vgg 16 – 19
"""

from typing import NamedTuple

from albench.networks import NetworkSpec


class Counts(NamedTuple):
    f: int
    b: tuple[int, ...]
    g: int
    h: int
    total: int
    effective: int
    twin: int
    printed: str = ""


MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def spec(name, shape, classes, width, *, hidden_layers=8, bridge="flat"):
    return NetworkSpec(
        name=name,
        input_shape=shape,
        classes=classes,
        width=width,
        hidden_layers=hidden_layers,
        bridge_width=5 * width,
        bridge=bridge,
    )


TABLE = {
    "MNIST mlp": (
        spec("mlp", MNIST, 10, 1024, hidden_layers=4),
        Counts(
            1_853_440,
            (10_491_904, 10_491_904),
            1_060_864,
            1_059_850,
            24_957_962,
            13_405_194,
            13_405_194,
            "1.853 10.49 10.49 1.061 1.060 24.96",
        ),
    ),
    "CIFAR-10 mlp": (
        spec("mlp", CIFAR, 10, 3000, hidden_layers=4),
        Counts(
            18_222_000,
            (90_018_000, 90_018_000),
            9_036_000,
            9_033_010,
            216_327_010,
            117_273_010,
            117_273_010,
            "18.22 90.02 90.02 9.04 9.03 216.3",
        ),
    ),
    "CIFAR-100 mlp": (
        spec("mlp", CIFAR, 100, 3000, hidden_layers=4),
        Counts(
            18_222_000,
            (90_018_000, 90_018_000),
            9_306_000,
            9_303_100,
            216_867_100,
            117_543_100,
            117_543_100,
        ),
    ),
    "MNIST cnn": (
        spec("cnn", MNIST, 10, 256),
        Counts(
            157_344,
            (32_441_856, 8_357_376, 16_385_536, 4_343_296),
            200_192,
            199_946,
            62_085_546,
            4_700_586,
            4_700_586,
            "0.157 32.4 8.36 16.4 4.34 0.200 0.200 62.1",
        ),
    ),
    "CIFAR-10 cnn": (
        spec("cnn", CIFAR, 10, 256),
        Counts(
            157_920,
            (42_272_256, 10_814_976, 21_300_736, 5_572_096),
            200_192,
            199_946,
            80_518_122,
            5_929_962,
            5_929_962,
            "0.158 42.3 10.8 21.3 5.57 0.200 0.200 80.5",
        ),
    ),
    "CIFAR-100 cnn": (
        spec("cnn", CIFAR, 100, 500),
        Counts(
            157_920,
            (83_173_000, 21_733_000, 42_213_000, 11_493_000),
            802_000,
            801_600,
            160_373_520,
            12_452_520,
            12_452_520,
            "0.158 83.2 21.7 42.2 11.5 0.802 0.802 160.4",
        ),
    ),
    "CIFAR-10 resnet20": (
        spec("resnet20", CIFAR, 10, 300),
        Counts(
            272_416,
            (25_027_800, 25_027_800, 12_739_800, 6_595_800),
            274_200,
            273_910,
            70_211_726,
            7_142_126,
            1_099_526,
            "0.272 25.0 25.0 12.7 6.60 0.274 0.274 70.2",
        ),
    ),
    "CIFAR-10 resnet32": (
        spec("resnet32", CIFAR, 10, 300),
        Counts(
            467_296,
            (25_027_800, 25_027_800, 12_739_800, 6_595_800),
            274_200,
            273_910,
            70_406_606,
            7_337_006,
            1_294_406,
            "0.467 25.0 25.0 12.7 6.60 0.274 0.274 70.4",
        ),
    ),
    "CIFAR-100 resnet20": (
        spec("resnet20", CIFAR, 100, 500),
        Counts(
            272_416,
            (42_213_000, 42_213_000, 21_733_000, 11_493_000),
            802_000,
            801_600,
            119_528_016,
            12_567_016,
            2_496_016,
            "0.272 42.2 42.2 21.7 11.5 0.802 0.802 119.5",
        ),
    ),
    "CIFAR-100 resnet32": (
        spec("resnet32", CIFAR, 100, 500),
        Counts(
            467_296,
            (42_213_000, 42_213_000, 21_733_000, 11_493_000),
            802_000,
            801_600,
            119_722_896,
            12_761_896,
            2_690_896,
            "0.467 42.2 42.2 21.7 11.5 0.802 0.802 119.7",
        ),
    ),
    "CIFAR-10 vgg": (
        spec("vgg", CIFAR, 10, 300),
        Counts(
            9_936_384,
            (98_755_800, 49_603_800, 3_523_800, 1_987_800),
            274_200,
            273_910,
            164_355_694,
            12_198_094,
            10_596_070,
            "9.94 98.8 49.6 3.52 1.99 0.274 0.274 164.4",
        ),
    ),
    "CIFAR-100 vgg": (
        spec("vgg", CIFAR, 100, 500),
        Counts(
            9_936_384,
            (165_093_000, 83_173_000, 6_373_000, 3_813_000),
            802_000,
            801_600,
            269_991_984,
            14_550_984,
            13_976_560,
            "9.94 165.1 83.2 6.37 3.81 0.802 0.802 270.0",
        ),
    ),
    # With pooled bridges, which the published code does not have: all else is as above.
    "CIFAR-10 cnn, pooled": (
        spec("cnn", CIFAR, 10, 256, bridge="pooled"),
        Counts(157_920, (370_176, 370_176, 411_136, 411_136), 200_192, 199_946, 2_120_682, 769_002, 769_002),
    ),
    "CIFAR-10 resnet20, pooled": (
        spec("resnet20", CIFAR, 10, 300, bridge="pooled"),
        Counts(272_416, (475_800, 475_800, 499_800, 547_800), 274_200, 273_910, 2_819_726, 1_094_126, 1_099_526),
    ),
    "CIFAR-10 vgg, pooled": (
        spec("vgg", CIFAR, 10, 300, bridge="pooled"),
        Counts(
            9_936_384,
            (835_800, 1_219_800, 1_219_800, 1_987_800),
            274_200,
            273_910,
            15_747_694,
            12_198_094,
            10_596_070,
        ),
    ),
}
