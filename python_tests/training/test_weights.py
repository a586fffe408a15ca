"""Weights in safetensors: every bit comes back, and nothing else is taken for them."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from capsroute.models import CapsNet, PoolingCNN
from capsroute.training import TrainConfig, TrainingError, load_network, save_weights
from capsroute.training.storage.files import replace_files
from capsroute.training.storage.stored import StoredNetwork
from capsroute.training.storage.weights import read_weights, write_weights
from python_tests.training.doubles import assert_bitwise_equal
from python_tests.training.trained import no_room_for, preset_network


@pytest.fixture(scope="module")
def network():
    return preset_network(seed=3)


@pytest.fixture
def saved(tmp_path, network):
    config, model = network
    path = tmp_path / "model.safetensors"
    save_weights(path, model, config, epoch=4, step=180)
    return path


@pytest.mark.parametrize("reconstruction", [True, False])
@pytest.mark.parametrize(("name", "kind"), [("capsnet", CapsNet), ("pooling-cnn", PoolingCNN)])
def test_every_bit_comes_back(tmp_path, name, kind, reconstruction):
    config, model = preset_network(network=name, reconstruction=reconstruction, batch_size=7, seed=5)
    save_weights(tmp_path / "w.safetensors", model, config)
    noise = torch.get_rng_state()
    loaded = load_network(tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), noise)
    assert type(loaded) is kind
    assert not loaded.training
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in loaded.parameters())
    assert_bitwise_equal(model.state_dict(), loaded.state_dict())
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        for ours, theirs in zip(model(images), loaded(images), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_floating_type_and_the_routing_come_back(tmp_path, dtype):
    config, model = preset_network(routing="reference", iterations=4)
    save_weights(tmp_path / "w.safetensors", model.to(dtype), config)
    loaded = load_network(tmp_path / "w.safetensors")
    assert_bitwise_equal(model.state_dict(), loaded.state_dict())
    assert loaded.conv.weight.dtype == dtype
    assert (loaded.classes.routing, loaded.classes.options.iterations) == ("reference", 4)


def test_a_network_of_another_shape(tmp_path):
    config = TrainConfig(reconstruction=False)
    options = {"image_size": [9, 12], "in_channels": 3, "classes": 4, "conv_channels": 6, "primary_types": 3}
    model = CapsNet(**options, conv_kernel=3, conv_padding=1, primary_kernel=3, primary_padding=1, decoder_sizes=None)
    save_weights(tmp_path / "w.safetensors", model, config, options=options, classes=("a", "b", "c", "d"))
    stored = read_weights(tmp_path / "w.safetensors")
    assert (stored.image_shape, stored.classes) == ((3, 9, 12), ("a", "b", "c", "d"))
    assert_bitwise_equal(model.state_dict(), stored.build().state_dict())


def test_the_metadata(saved, network):
    stored = read_weights(saved)
    assert (stored.config, stored.epoch, stored.step) == (network[0], 4, 180)
    assert stored.classes == tuple("0123456789")
    with safe_open(str(saved), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert json.loads(metadata["config"])["seed"] == 3


def test_only_the_network_of_the_configuration_is_saved(tmp_path, network):
    model = network[1]
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match=r"not the network that config describes: it has decoder\.layers\.0\.bias and"):
        save_weights(path, model, TrainConfig(reconstruction=False))
    with pytest.raises(ValueError, match="it has 10 classes, not 4"):
        save_weights(path, model, TrainConfig(), options={"classes": 4})
    assert not path.exists()


def test_without_room_the_old_file_stays(saved, network):
    before = saved.read_bytes()
    with no_room_for(100_000), pytest.raises(TrainingError, match=r"cannot write the weights .*: File too large"):
        save_weights(saved, network[1], network[0])
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


class _Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a file was run')",))


def _flipped(raw):
    return raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1000], "is not a safetensors file, or it is damaged"),
        (lambda raw: raw[:100], "is not a safetensors file, or it is damaged"),
        (lambda raw: b"", "is not a safetensors file, or it is damaged"),
        (lambda raw: b"hello\n" * 100, "is not a safetensors file, or it is damaged"),
        (lambda raw: pickle.dumps(_Attack()), "is not a safetensors file, or it is damaged"),
        (_flipped, "is damaged: its weights are not those that were saved"),
        (lambda raw: raw.replace(b"capsroute-weights-1", b"capsroute-weights-9"), "not .* of this version"),
        (lambda raw: raw.replace(b'\\"lr\\"', b'\\"xx\\"'), r"other entries than expected: \['lr', 'xx'\]"),
        (lambda raw: raw.replace(b'\\"epochs\\": 30', b'\\"epochs\\":-30'), "epochs must be at least 1, got -30"),
        (lambda raw: raw.replace(b'\\"epochs\\": 30', b'\\"epochs\\":[30'), "its metadata cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_and_foreign_files(saved, damage, message):
    raw = saved.read_bytes()
    changed = damage(raw)
    assert changed != raw
    saved.write_bytes(changed)
    with pytest.raises(TrainingError, match=message) as caught:
        load_network(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_others_and_none(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    for name, message in (
        ("w.safetensors", "w.safetensors is not a safetensors file of this version of capsroute"),
        ("absent", "cannot read the weights .*/absent: No such file"),
        ("", "cannot read the weights .*: Is a directory"),
    ):
        with pytest.raises(TrainingError, match=message):
            load_network(tmp_path / name)


def write_unchecked(stored):
    replace_files({stored.path: lambda file: write_weights(file, stored)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes.weight": torch.zeros(128, 12, 16, 8)}, "it has 12 classes, not 10"),
        ({"conv.bias": None}, "it lacks conv.bias$"),
        ({"conv.bias": torch.zeros(7)}, r"conv.bias has the shape \[7\], not \[64\]"),
        ({"conv.bias": torch.zeros(64, dtype=torch.int32)}, "conv.bias has the type torch.int32, not one like"),
        ({"extra": torch.zeros(1)}, "it has extra, which the network has not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_of_another_network(tmp_path, network, change, message):
    config, model = network
    state = {name: tensor for name, tensor in {**model.state_dict(), **change}.items() if tensor is not None}
    stored = StoredNetwork(tmp_path / "w.safetensors", config, state, tuple("0123456789"))
    write_unchecked(stored)
    with pytest.raises(TrainingError, match="does not hold the weights of the network that it names: " + message):
        load_network(stored.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv_kernel": 99}, "conv_kernel=99 does not fit"),
        ({"conv_channels": -1}, "must be at least 1"),
        ({"colour": 1}, "colour"),
    ],
    ids=str,
)
def test_options_that_no_network_has(tmp_path, network, options, message):
    config, model = network
    stored = StoredNetwork(tmp_path / "w", config, model.state_dict(), tuple("0123456789"), options)
    write_unchecked(stored)
    with pytest.raises(TrainingError, match=f"w names a network that cannot be built: .*{message}"):
        load_network(stored.path)


def test_as_many_names_as_classes(tmp_path, network):
    config, model = network
    with pytest.raises(ValueError, match="it names 2 classes where the network has 10"):
        save_weights(tmp_path / "w", model, config, classes=("a", "b"))
    write_unchecked(StoredNetwork(tmp_path / "w", config, model.state_dict(), ("a", "b")))
    with pytest.raises(TrainingError, match="it names 2 classes where the network has 10"):
        load_network(tmp_path / "w")
