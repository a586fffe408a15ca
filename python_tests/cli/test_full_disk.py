"""A disk that fills up while ``capsroute train`` saves."""

from __future__ import annotations

from PIL import Image

from capsroute.cli import main
from python_tests.training.trained import no_room_for

QUICK = ("--batch-size", "256", "--device", "cpu")
SAVED = ("checkpoint.pt", "model.safetensors", "model-card.md")


def test_the_saved_files_stay_whole_and_the_run_goes_on(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *QUICK, "--epochs", "1", "--out", str(out)]) == 0
    before = {name: (out / name).read_bytes() for name in SAVED}
    resume = ["train", "--resume", str(out / "checkpoint.pt"), "--epochs", "2"]
    capsys.readouterr()
    with no_room_for(1_000_000):
        assert main(resume) == 2
    error = capsys.readouterr().err
    assert error == (
        f"capsroute: error: cannot write {out / 'checkpoint.pt'}: File too large; the files of the former save are "
        f"whole: make room there, then go on with --resume {out / 'checkpoint.pt'}\n"
    )
    assert {name: (out / name).read_bytes() for name in SAVED} == before
    assert not [path for path in out.iterdir() if path.name.startswith(".")]

    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    for name in SAVED[:2]:
        assert main(["predict", str(tmp_path / "black.png"), "--checkpoint", str(out / name)]) == 0
    assert main(resume) == 0
    assert "(epoch 2 of 2)" in (out / "model-card.md").read_text()
