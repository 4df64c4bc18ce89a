import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny
from torch.testing import assert_close

from facegan.config import SIZES, Config
from facegan.networks import build_critic, build_generator, count_parameters
from facegan.networks.keras import DoublingConv2d, HalvingConv2d
from facegan.networks.subpixel import transposed_convolution
from facegan.presets import DEFAULT, PRESETS

PARAMETERS = {
    ("human-faces", 64): (1_614_851, 4_359_425),
    ("keras-faces-64", 64): (5_150_723, 4_314_753),
    ("keras-faces-128", 128): (8_203_267, 1_583_745),
    ("dcgan", 32): (364_899, 95_017),
    ("dcgan", 64): (922_467, 391_657),
    ("dcgan", 128): (2_627_427, 1_574_761),
    ("dcgan", 256): (4_987_747, 4_723_049),
    ("dcgan-r3gan", 32): (459_349, 95_017),
    ("dcgan-r3gan", 64): (1_230_166, 391_657),
    ("dcgan-r3gan", 128): (3_656_535, 1_574_761),
    ("dcgan-r3gan", 256): (8_639_320, 4_723_049),
    ("dcgan-r3gan-large", 64): (2_823_513, 1_557_457),
}


@pytest.mark.parametrize(("preset", "size"), PARAMETERS)
def test_parameter_counts(preset, size):
    config = PRESETS[preset].override({"networks.size": size})
    counts = count_parameters(build_generator(config)), count_parameters(build_critic(config))
    assert counts == PARAMETERS[preset, size]


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_range(preset):
    config = tiny(preset)
    low, high = config.networks.pixel_range
    images = build_generator(config)(torch.randn(3, 8))
    assert images.shape == (3, 3, 32, 32)
    assert low <= images.min() and images.max() <= high
    assert build_critic(config)(images).shape == (3,)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_the_default(size):
    config = PRESETS[DEFAULT].override({"networks.size": size, "networks.width": 2})
    assert build_generator(config)(torch.randn(2, 128)).shape == (2, 3, size, size)
    assert build_critic(config)(torch.randn(2, 3, size, size)).shape == (2,)


def test_channels_halve_to_full_size_only_with_taper():
    """A file from before `taper` has as many channels at full size as at half of it, and opens."""
    before = PRESETS["dcgan"].to_dict()
    del before["networks"]["taper"]
    for config, widths in (
        (Config.from_dict(before), (256, 128, 64, 32, 32)),
        (PRESETS["dcgan"].override({"networks.taper": True}), (256, 128, 64, 32, 16)),
        (PRESETS["dcgan"].override({"networks.taper": True, "networks.width": 1}), (8, 4, 2, 1, 1)),
    ):
        convolutions = [octave.convolution for octave in build_generator(config).octaves]
        assert tuple(layer.in_channels for layer in convolutions) == widths[:-1]
        assert tuple(layer.out_channels for layer in convolutions) == widths[1:]


def modulated_norm(x: torch.Tensor, z: torch.Tensor, weights: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    scale, shift = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
    a, b = (z @ weights[f"{name}.modulation.weight"].T)[:, :, None, None].chunk(2, dim=1)
    return F.batch_norm(x, None, None, scale, shift, training=True) * (1 + a) + b


def test_the_generator_is_its_formula():
    """Octave by octave: enlarged, normalised, modulated by the latent; then residual blocks, but in the last octave."""
    generator = build_generator(tiny("dcgan-r3gan").override({"networks.depth": 2})).double()
    weights = generator.state_dict()
    for name, value in weights.items():
        if name.endswith("gain"):
            value.fill_(0.7)
    z = torch.randn(5, 8, dtype=torch.float64)

    x = (z @ weights["project.weight"].T).unflatten(1, generator.base)
    x = F.batch_norm(x, None, None, weights["base_norm.weight"], weights["base_norm.bias"], training=True).relu()
    for octave in range(3):
        name = f"octaves.{octave}"
        x = F.interpolate(
            F.conv2d(x, weights[f"{name}.convolution.weight"], padding=1), scale_factor=2, mode="bilinear"
        )
        x = modulated_norm(x, z, weights, f"{name}.norm").relu()
        for block in range(2 if octave < 2 else 0):
            at = f"{name}.residuals.{block}"
            change = F.conv2d(x, weights[f"{at}.convolution.weight"], padding=1)
            x = (x + 0.7 * modulated_norm(change, z, weights, f"{at}.norm")).relu()
    x = F.conv2d(x, weights["to_rgb.weight"], weights["to_rgb.bias"], padding=1).tanh()
    assert_close(generator(z), x)


@pytest.mark.parametrize("change", [{"networks.self_modulation": False}, {"networks.depth": 0}])
def test_what_begins_at_zero_changes_nothing(change):
    """With all modulations and gains at zero the generator is the one without modulation and without residuals."""
    config = tiny("dcgan-r3gan").override({"networks.depth": 2})
    generator, plain = build_generator(config).double(), build_generator(config.override(change)).double()
    z = torch.randn(5, 8, dtype=torch.float64)
    for name, parameter in generator.named_parameters():
        if "modulation" in name or name.endswith("gain"):
            torch.nn.init.zeros_(parameter)
    weights = generator.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    assert torch.equal(generator(z), plain(z))


def test_a_critic_begins_as_the_one_without_residual_blocks():
    config = tiny("dcgan")
    deep, plain = (build_critic(config.override({"networks.critic_depth": depth})) for depth in (2, 0))
    blocks, weights = {f"downsample.{n}" for n in (2, 3, 6, 7, 10, 11)}, deep.state_dict()
    kept = [value for name, value in weights.items() if ".".join(name.split(".")[:2]) not in blocks]
    plain.load_state_dict(dict(zip(plain.state_dict(), kept, strict=True)))
    images = torch.randn(5, 3, 32, 32)
    assert torch.equal(deep(images), plain(images))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "human-faces"])
def test_a_score_does_not_depend_on_its_neighbours(preset):
    critic = build_critic(tiny(preset)).double()
    images = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    assert_close(critic(images)[2:3], critic(images[2:3]))


def test_batch_norm_of_human_faces_does_couple_a_batch():
    critic = build_critic(tiny("human-faces")).double()
    images = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    assert (critic(images)[:2] - critic(images[:2])).abs().max() > 1e-3


@pytest.mark.parametrize("preset", PRESETS)
def test_initial_weights_come_from_the_seed_alone(preset):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_critic(tiny(preset)).state_dict()
    assert torch.equal(before, torch.get_rng_state()), "torch's global generator was touched"
    torch.manual_seed(2)
    second = build_critic(tiny(preset)).state_dict()
    other = build_critic(tiny(preset).override({"seed": 1})).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def turned(x: torch.Tensor) -> torch.Tensor:
    return x.flip(-2, -1)


def keras_conv(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Keras Conv2D(strides=2, padding='same') on (H, W, C) with kernel (k, k, C, C'), from its documentation:
    out_size = ceil(in_size / 2), total padding = (out_size - 1)*2 + k - in_size, the smaller half before."""
    k, height = kernel.shape[0], image.shape[0]
    out = -(-height // 2)
    total = max((out - 1) * 2 + k - height, 0)
    before = total // 2
    padded = np.pad(image, ((before, total - before), (before, total - before), (0, 0)))
    result = np.zeros((out, out, kernel.shape[3]))
    for y in range(out):
        for x in range(out):
            result[y, x] = np.einsum("ijc,ijcd->d", padded[2 * y : 2 * y + k, 2 * x : 2 * x + k], kernel)
    return result


def keras_conv_transpose(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Keras Conv2DTranspose(strides=2, padding='same') on (H, W, C) with kernel (k, k, C', C): every input pixel adds
    its kernel at twice its place, and the surplus is cropped, the smaller half before."""
    k, height = kernel.shape[0], image.shape[0]
    full = np.zeros((2 * (height - 1) + k, 2 * (height - 1) + k, kernel.shape[2]))
    for y in range(height):
        for x in range(height):
            full[2 * y : 2 * y + k, 2 * x : 2 * x + k] += np.einsum("ijdc,c->ijd", kernel, image[y, x])
    before = max(k - 2, 0) // 2
    return full[before : before + 2 * height, before : before + 2 * height]


@pytest.mark.parametrize("k", [3, 5])
def test_convolution_is_keras_upright(k):
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal((8, 8, 3)), rng.standard_normal((k, k, 3, 2))
    layer = HalvingConv2d(3, 2, k).double()
    layer.weight.data = turned(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
    layer.bias.data.zero_()
    ours = turned(layer(turned(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])))[0]
    assert_close(ours, torch.from_numpy(keras_conv(image, kernel).transpose(2, 0, 1).copy()))


@pytest.mark.parametrize("width", [2, 3], ids=["direct", "rgb, by sub-pixels"])
@pytest.mark.parametrize("k", [3, 5])
def test_transposed_convolution_is_keras_upright(k, width):
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal((4, 4, 3)), rng.standard_normal((k, k, width, 3))
    layer = DoublingConv2d(3, width, k).double()
    layer.weight.data = turned(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
    layer.bias.data.zero_()
    ours = turned(layer(turned(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])))[0]
    assert_close(ours, torch.from_numpy(keras_conv_transpose(image, kernel).transpose(2, 0, 1).copy()))


def test_symmetric_padding_upright_would_not_have_done():
    """The reason for turning: torch's padding=2 on upright pictures gives other numbers than Keras' (1, 2)."""
    layer = HalvingConv2d(3, 2, 5)
    image = torch.randn(1, 3, 8, 8)
    upright = F.conv2d(image, turned(layer.weight), layer.bias, stride=2, padding=2)
    assert (turned(layer(turned(image))) - upright).abs().max() > 0.01


@pytest.mark.parametrize("k", [3, 4, 5])
def test_subpixels_are_the_adjoint_of_a_convolution(k):
    """<conv(x), y> = <x, adjoint(y)> for all x and y."""
    x, y = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(2, 5, 4, 4, dtype=torch.float64)
    weight = torch.randn(5, 3, k, k, dtype=torch.float64)
    padding = (k - 1) // 2
    there = F.conv2d(x, weight, stride=2, padding=padding)
    back = transposed_convolution(y, weight, padding)
    assert_close((there * y).sum(), (x * back).sum())


def test_glorot_bound_and_zero_biases():
    generator = build_generator(PRESETS["human-faces"])
    weight = generator.stages[0].weight  # (256, 128, 5, 5)
    bound = (6 / (25 * 256 + 25 * 128)) ** 0.5
    assert bound * 0.99 < weight.abs().max() <= bound
    assert all(not p.any() for name, p in generator.named_parameters() if name.endswith("bias"))


def test_keras_batch_norm_numbers():
    human, keras = build_generator(PRESETS["human-faces"]), build_generator(PRESETS["keras-faces-64"])
    assert (human.project[1].eps, human.project[1].momentum) == (1e-3, 0.01)
    assert (keras.project[1].eps, keras.project[1].momentum) == (1e-3, 0.1)
