import dataclasses
import json

import pytest

from facegan.config import Config, DcganNetworks
from facegan.core.errors import FaceganError
from facegan.presets import ORIGINS, PRESETS


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_json_round_trip(config):
    assert Config.from_json(config.to_json()) == config
    assert config.preset in ORIGINS


def test_override_by_path():
    config = PRESETS["dcgan"].override({"training.critic.lr": 1e-3, "networks.width": 8, "seed": 7})
    assert (config.training.critic.lr, config.networks.width, config.seed) == (1e-3, 8, 7)
    assert config.training.generator == PRESETS["dcgan"].training.generator


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("training.batch_size", 0, "batch_size must be at least 1"),
        ("training.batch_size", 1.5, "batch_size must be of type int"),
        ("training.batch_size", True, "batch_size must be of type int"),
        ("training.critic.lr", 0.0, "lr must be above 0"),
        ("training.critic.lr", float("nan"), "lr must be above 0"),
        ("training.critic.beta2", 1.0, "beta2 must be at least 0"),
        ("training.precision", "fp8", "precision must be one of auto, fp32, bf16"),
        ("networks.size", 63, "size must be one of 32, 64, 128, 256"),
        ("networks.nonsense", 1, "does not apply to preset 'dcgan'"),
        ("seed", -1, "seed must be at least 0"),
    ],
)
def test_bad_values_are_named(path, value, says):
    with pytest.raises(FaceganError, match=says):
        PRESETS["dcgan"].override({path: value})


def test_width_is_refused_where_networks_have_none():
    with pytest.raises(FaceganError, match="networks.width does not apply to preset 'human-faces'"):
        PRESETS["human-faces"].override({"networks.width": 8})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(colour=1), "unknown entry 'colour'"),
        (lambda d: d.pop("seed"), "lacks the entry 'seed'"),
        (lambda d: d["networks"].update(family="transformer"), "unknown network family 'transformer'"),
        (lambda d: d["networks"].update(width="wide"), "width must be of type int"),
        (lambda d: d["training"].update(critic=3), "training.critic is missing or not a JSON object"),
        (lambda d: d["training"]["critic"].update(lr=float("inf")), "lr must be above 0"),
    ],
)
def test_damaged_configurations_are_refused(change, says):
    data = json.loads(PRESETS["dcgan"].to_json())
    change(data)
    with pytest.raises(FaceganError, match=says):
        Config.from_dict(data, "some.pt")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"preset": "dcgan"}', "[" * 100_000])
def test_not_a_configuration(text):
    with pytest.raises(FaceganError):
        Config.from_json(text)


def test_configurations_cannot_be_changed_in_place():
    networks = PRESETS["dcgan"].networks
    assert isinstance(networks, DcganNetworks)
    with pytest.raises(dataclasses.FrozenInstanceError):
        networks.width = 3
