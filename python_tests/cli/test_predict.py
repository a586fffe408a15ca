"""``capsroute predict`` from its arguments to its output."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from capsroute.cli import main
from capsroute.training import TrainConfig, load_network, save_weights
from capsroute.training.datasets import load_digits
from python_tests.training.trained import preset_network


@pytest.fixture(scope="module")
def network():
    return preset_network(seed=1)


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """A folder with weights and three digits, in which the command runs."""
    config, model = network
    save_weights(tmp_path / "model.safetensors", model, config, epoch=2, step=9)
    images, _ = load_digits().test.batch(slice(0, 3))
    for name, image in zip("abc", images, strict=True):
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments, checkpoint="model.safetensors"):
    return main(["predict", "--device", "cpu", "--checkpoint", str(checkpoint), *map(str, arguments)])


def expected_lengths(network, *names):
    pixels = [np.asarray(Image.open(name), dtype=np.float32) / 255 for name in names]
    with torch.no_grad():
        return network[1](torch.from_numpy(np.stack(pixels)).unsqueeze(1)).lengths


def refused(capsys, *arguments, **options):
    assert predict(*arguments, **options) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("capsroute: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("checkpoint", ["model.safetensors", "."])
def test_a_line_for_each_image(folder, network, capsys, checkpoint):
    assert predict("c.png", "a.png", checkpoint=checkpoint) == 0
    output, error = capsys.readouterr()
    lengths = expected_lengths(network, "c.png", "a.png")
    for line, name, row in zip(output.splitlines(), ("c.png", "a.png"), lengths, strict=True):
        best = row.topk(3)
        shown = ", ".join(
            f"{label} {length:.3f}" for length, label in zip(*map(torch.Tensor.tolist, best), strict=True)
        )
        assert line == f"{name}: {int(row.argmax())}  (lengths: {shown})"
    assert error == ""


def test_json(folder, network, capsys):
    assert predict("a.png", "b.png", "--json", "--batch-size", 1) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["network"], facts["dataset"], facts["scores"]) == ("capsnet", "digits", "length")
    assert (facts["epoch"], facts["step"], facts["checkpoint"]) == (2, 9, "model.safetensors")
    for image, name, row in zip(
        facts["images"], ("a.png", "b.png"), expected_lengths(network, "a.png", "b.png"), strict=True
    ):
        assert image["file"] == name
        assert (image["class"], image["label"]) == (str(int(row.argmax())), int(row.argmax()))
        assert list(image["scores"]) == list("0123456789")
        torch.testing.assert_close(torch.tensor(list(image["scores"].values())), row)
        assert image["notes"] == []


def test_a_picture(folder):
    assert predict("a.png", "b.png", "--reconstruction", "out.png") == 0
    with Image.open("out.png") as picture:
        assert picture.size == (8 + 2 * 104, 8 + 224)
    assert sorted(os.listdir()) == ["a.png", "b.png", "c.png", "model.safetensors", "out.png"]


def test_images_of_another_kind(folder, capsys):
    dark = Image.eval(Image.open("a.png").resize((64, 48)), lambda value: 255 - value).convert("RGB")
    dark.putpixel((0, 0), (255, 0, 0))
    dark.save("paper.jpg")
    assert "paper.jpg has 64x48 pixels, the network takes 8x8" in refused(capsys, "a.png", "paper.jpg")
    assert predict("paper.jpg", "--resize", "--invert") == 0
    output, error = capsys.readouterr()
    assert output.startswith("paper.jpg: ")
    assert error.splitlines() == [
        "capsroute: note: paper.jpg: colours turned into grey",
        "capsroute: note: paper.jpg: resized from 64x48 to 8x8",
    ]
    assert predict("paper.jpg", "--resize", "--json") == 0
    notes = json.loads(capsys.readouterr().out)["images"][0]["notes"]
    assert notes[2:] == ["dark on a light ground: networks that learned from light digits on dark need --invert"]


def test_a_network_without_capsules(folder, capsys):
    config, model = preset_network(network="pooling-cnn")
    save_weights("cnn.safetensors", model, config)
    assert predict("a.png", "--reconstruction", "out.png", checkpoint="cnn.safetensors") == 0
    assert "  (scores: " in capsys.readouterr().out
    assert (folder / "out.png").exists()


def test_names_of_classes(folder, network, capsys):
    save_weights("named.safetensors", network[1], network[0], classes=[f"digit {n}" for n in range(10)])
    label = int(expected_lengths(network, "a.png").argmax())
    assert predict("a.png", checkpoint="named.safetensors") == 0
    assert capsys.readouterr().out.startswith(f"a.png: digit {label}  (lengths: digit {label} ")


def test_bad_images(folder, capsys):
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
    assert "text.png is not a PNG or JPEG image" in refused(capsys, "a.png", "text.png")
    assert "cut.png is damaged or truncated" in refused(capsys, "cut.png")
    assert "cannot read the image absent.png: no such file" in refused(capsys, "a.png", "absent.png")


def test_bad_checkpoints(folder, capsys):
    (folder / "text.pt").write_text("hello, I am no checkpoint")
    assert "text.pt is neither a checkpoint nor" in refused(capsys, "a.png", checkpoint="text.pt")
    assert "cannot read the checkpoint absent.pt: No such" in refused(capsys, "a.png", checkpoint="absent.pt")
    (folder / "cut.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-5])
    assert "cut.safetensors is not a safetensors file" in refused(capsys, "a.png", checkpoint="cut.safetensors")


@pytest.mark.parametrize("options", [{}, {"decoder_sizes": None}])
def test_a_network_without_decoder(folder, capsys, options):
    """Which the configuration or the options of the network leave out."""
    bare = preset_network(reconstruction=False)[1]
    save_weights("bare.safetensors", bare, TrainConfig(reconstruction=bool(options)), options=options)
    error = refused(capsys, "a.png", "--reconstruction", "out.png", checkpoint="bare.safetensors")
    assert "--reconstruction needs a network with a decoder, and that of bare.safetensors has none" in error
    assert predict("a.png", checkpoint="bare.safetensors") == 0
    assert load_network("bare.safetensors").decoder is None


def test_names_that_are_too_long(folder, capsys):
    before = sorted(os.listdir())
    name = f"{300 * 'a'}.png"
    assert f"cannot read the image {name}: no such file" in refused(capsys, name)
    assert f"cannot be written: {name}: File name too long" in refused(capsys, "a.png", "--reconstruction", name)
    assert f"there is no folder {name}" in refused(capsys, "a.png", "--reconstruction", f"{name}/out.png")
    assert sorted(os.listdir()) == before


def test_no_file_is_lost_to_the_picture(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "names b.png, which is there already" in refused(capsys, "--reconstruction", "b.png", "a.png")
    assert "which is one of the images" in refused(capsys, "a.png", "--reconstruction", "a.png", "--overwrite")
    assert "must name a .png file, got model.safetensors" in refused(
        capsys, "a.png", "--reconstruction", "model.safetensors"
    )
    assert "there is no folder absent" in refused(capsys, "a.png", "--reconstruction", "absent/out.png")
    (folder / "d.png").mkdir()
    assert "d.png is a folder" in refused(capsys, "a.png", "--reconstruction", "d.png")
    (folder / "d.png").rmdir()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert predict("a.png", "--reconstruction", "b.png", "--overwrite") == 0
    assert (folder / "b.png").read_bytes() != before["b.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "--batch-size", 0), "batch-size must be at least 1, got 0"),
        (("a.png", "--threads", 0), "threads must be at least 1, got 0"),
        (("a.png", "--device", "tpu"), "device must be auto, cpu or cuda; got tpu"),
        ((), "the following arguments are required: IMAGE"),
    ],
    ids=str,
)
def test_bad_options(folder, capsys, arguments, message):
    assert message in refused(capsys, *arguments)
    assert main(["predict", "a.png"]) == 2
    assert "the following arguments are required: --checkpoint" in capsys.readouterr().err
