"""Children of a process whose threads have computed: by os.fork, and as the workers of a DataLoader."""

from __future__ import annotations

import pytest

from python_tests.kernels import cuda_backends

from .process import said


def test_a_child_routes_and_learns_the_same():
    """The thread that forked routes alone, in each way to the votes. Another thread of the child gets a team."""
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

        print(in_a_child(child))
    """
    assert said(program)[-1] == "0"


def test_after_a_backward_torch_refuses_one_in_the_child_and_the_forward_goes_on():
    """Its own limit, which it says in a sentence."""
    program = """
        torch.set_num_threads(2)
        tensors = problem()
        expected, _ = forward(tensors), gradients(tensors)
        def child():
            assert equal([forward(tensors)], [expected])
            try:
                gradients(tensors)
            except RuntimeError as error:
                assert "fork" in str(error), error
        print(in_a_child(child))
    """
    assert said(program)[-1] == "0"


@pytest.mark.parametrize("emulated", [False, True])
def test_a_fork_while_another_thread_is_in_a_call(emulated: bool):
    if emulated and "cuda_emulated" not in cuda_backends():
        pytest.skip("needs the emulation (CAPSROUTE_EMULATION=1)")
    program = f"""
        import contextlib
        emulated = {emulated}
        def forced():
            return testing.backend("cuda_emulated") if emulated else contextlib.nullcontext()
        torch.set_num_threads(2)
        tensors, small = (problem(2, 24), problem(1, 4)) if emulated else (problem(64), problem(4))
        with forced():
            expected = forward(small)
        stop, started = threading.Event(), threading.Event()
        def work():
            with forced():
                while not stop.is_set():
                    started.set()
                    forward(tensors)
        thread = threading.Thread(target=work)
        thread.start(), started.wait()
        def child():
            with forced():
                assert equal([forward(small)], [expected])
            os._exit(0)
        for _ in range(8):
            print(in_a_child(child))
        stop.set(), thread.join()
    """
    assert said(program)[-8:] == ["0"] * 8


def test_workers_of_a_data_loader():
    """By each way to start them, after the parent's team has worked."""
    program = """
        if __name__ == "__main__":
            from torch.utils.data import DataLoader
            from python_tests.reliability.faults.routed import Routed
            torch.set_num_threads(2)
            data = Routed()
            expected = torch.stack([data[k] for k in range(len(data))])
            for context in ("fork", "forkserver", "spawn"):
                loader = DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=context, timeout=200)
                print(context, torch.equal(torch.cat(list(loader)), expected))
    """
    assert said(program)[-3:] == ["fork True", "forkserver True", "spawn True"]
