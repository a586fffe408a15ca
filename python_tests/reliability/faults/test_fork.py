"""Children of a process whose threads have computed: by os.fork, and as the workers of a DataLoader."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import capsroute
from python_tests.kernels import cuda_backends

from .process import said


def test_a_child_routes_and_learns_the_same():
    """The thread that forked routes alone, in each way to the votes. Another thread of the child gets a team.

    Once the parent has run a backward, torch refuses one in the child, its own limit, and the forward goes on.
    """
    program = """
        torch.set_num_threads(3)
        tensors = problem()
        before = {votes: None for votes in ("made", "tile", "wave")}
        for votes in before:
            with testing.cpu_votes(votes):
                before[votes] = forward(tensors)
        assert len(os.listdir("/proc/self/task")) > 2, "no team was there to be forked"

        def tasks():
            return len(os.listdir("/proc/self/task"))

        def child():
            for votes, expected in before.items():
                with testing.cpu_votes(votes):
                    assert equal([forward(tensors)], [expected])
            own = gradients(tensors)
            assert tasks() == 1, tasks()
            found = []
            def route():
                found.extend([gradients(tensors), tasks()])
            thread = threading.Thread(target=route)
            thread.start(), thread.join()
            assert equal(found[0], own)
            assert found[1] > 2, "the other thread got no team"

        def child_after_a_backward():
            assert equal([forward(tensors)], [expected])
            try:
                gradients(tensors)
            except RuntimeError as error:
                assert "fork" in str(error), error

        print(in_a_child(child))
        expected, _ = forward(tensors), gradients(tensors)
        print(in_a_child(child_after_a_backward))
    """
    assert said(program)[-2:] == ["0", "0"]


def test_a_fork_while_another_thread_is_in_a_call():
    """With each backend; on the emulation the fork waits for the launch."""
    backends = [name for name in ("cpu", *cuda_backends()) if name != "cuda"]
    program = f"""
        torch.set_num_threads(2)
        for backend in {backends}:
            tensors, small = (problem(64), problem(4)) if backend == "cpu" else (problem(2, 24), problem(1, 4))
            with testing.backend(backend):
                expected = forward(small)
            stop, started = threading.Event(), threading.Event()
            def work():
                with testing.backend(backend):
                    while not stop.is_set():
                        started.set()
                        forward(tensors)
            thread = threading.Thread(target=work)
            thread.start(), started.wait()
            def child():
                with testing.backend(backend):
                    assert equal([forward(small)], [expected])
            for _ in range(4):
                print(in_a_child(child))
            stop.set(), thread.join()
    """
    assert said(program) == ["0"] * 4 * len(backends)


class Routed(Dataset[Tensor]):
    """Samples that are routed where they are made: output capsules ``[10, 16]`` of made-up inputs."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        x, weight = torch.randn(1, 300, 8, generator=generator), torch.randn(300, 10, 16, 8, generator=generator)
        return capsroute.dynamic_routing(x, weight)[0]


@pytest.mark.nightly
def test_workers_of_a_data_loader():
    """By each way to start them, after the parent's team has worked."""
    program = """
        if __name__ == "__main__":
            from torch.utils.data import DataLoader
            from python_tests.reliability.faults.test_fork import Routed
            torch.set_num_threads(2)
            data = Routed()
            expected = torch.stack([data[k] for k in range(len(data))])
            for context in ("fork", "forkserver", "spawn"):
                loader = DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=context, timeout=200)
                print(context, torch.equal(torch.cat(list(loader)), expected))
    """
    assert said(program)[-3:] == ["fork True", "forkserver True", "spawn True"]
