"""An address space or a number of threads that is limited."""

from __future__ import annotations

import pytest
import torch

from capsroute import no_memory
from capsroute.training.errors import TrainingError
from capsroute.training.storage.checkpoint import load_checkpoint

from .process import said

_LEAK = 2 * 32  # bytes by round, if both calls lost what malloc gives at least


@pytest.mark.parametrize("rounds", [400, pytest.param(1600, marks=pytest.mark.nightly)])
def test_the_op_raises_and_the_process_goes_on_without_a_leak(rounds: int):
    """Forward and backward of a problem that does not fit, many times, then of one that does."""
    program = f"""
        import gc
        from python_tests.reliability.memory.watch import growth, heap_bytes
        torch.set_num_threads(1)
        small, large = problem(4), problem(64, 4000)
        expected, learnt = forward(small), gradients(small)
        output = capsroute.dynamic_routing(*large)
        loss = output.square().sum()
        address_space(24)
        gc.freeze()  # what is there already need not be looked through each time
        failed, at, heap = 0, [], []
        for number in range({rounds}):
            for work in (lambda: capsroute.dynamic_routing(torch.empty(1).expand(2**22, 4000, 8), large[1]),
                         lambda: torch.autograd.grad(loss, large, retain_graph=True)):
                try:
                    work()
                except RuntimeError as error:
                    failed += "can't allocate memory" in str(error)
            if number % 10 == 0:
                gc.collect()
                at.append(number)
                heap.append(heap_bytes())
            if number % 20 == 0:
                assert torch.equal(forward(small), expected) and equal(gradients(small), learnt)
        lift()
        torch.autograd.grad(loss, large)
        print(failed, growth(at, heap) < {_LEAK / 2})
    """
    assert said(program)[-1] == f"{2 * rounds} True"


@pytest.mark.parametrize("limit", ["address space", pytest.param("processes", marks=pytest.mark.nightly)])
def test_threads_that_cannot_be_started_are_done_without(limit: str):
    """libgomp ends the process in the place of saying so: the call takes as many as there can be."""
    program = f"""
        limit = {limit!r}
        tensors = problem()
        torch.set_num_threads(1)
        expected = forward(tensors)
        torch.set_num_threads(4)
        before = resource.getrlimit(resource.RLIMIT_NPROC)
        def limited():
            if limit == "address space":
                address_space(6)
            else:
                if os.getuid() == 0:  # who is never limited
                    os.setgid(65534), os.setuid(61234)
                resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))
        limited()
        assert torch.equal(forward(tensors), expected)
        assert len(os.listdir("/proc/self/task")) == 1
        lift(), resource.setrlimit(resource.RLIMIT_NPROC, before)
        assert torch.equal(forward(tensors), expected)
        print(len(os.listdir("/proc/self/task")) > 3)
    """
    assert said(program)[-1] == "True"


@pytest.mark.nightly
def test_the_command_says_one_sentence_with_status_2():
    program = """
        import pathlib, tempfile
        from capsroute.cli import main
        folder = pathlib.Path(tempfile.mkdtemp())
        common = ["--device", "cpu", "--threads", "1"]
        small = ["train", *common, "--batch-size", "64", "--epochs", "1", "--out", str(folder / "small")]
        assert main(small) == 0  # and everything is imported
        def train():
            address_space(16)
            os._exit(main(["train", *common, "--batch-size", "1400", "--epochs", "1", "--out", str(folder / "large")]))
        def bench():
            address_space(16)
            os._exit(main(["bench", "--threads", "1", "--shapes", "emnist-letters", "--compare", "none"]))
        sys.stderr = sys.stdout
        for work in (train, bench):
            print(work.__name__, in_a_child(work, 120), flush=True)
    """
    lines = said(program)
    errors = [line for line in lines if "error" in line]
    assert [line for line in lines if line.startswith(("train ", "bench "))] == ["train 2", "bench 2"], lines
    assert len(errors) == 2
    assert all(line.startswith("capsroute: error: there is not enough memory: ") for line in errors)
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't allocate memory: you tried to allocate 64 bytes")]
)
def test_a_checkpoint_that_does_not_fit_is_not_called_damaged(error: Exception, tmp_path, monkeypatch):
    def load(*_, **__):
        raise error

    torch.save({}, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .* there is not enough memory"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("error", [RuntimeError("a shape is wrong"), OSError(5, "gone"), ValueError("memory")])
def test_other_errors_are_left_alone(error: Exception):
    assert no_memory.sentence_of(error) is None
