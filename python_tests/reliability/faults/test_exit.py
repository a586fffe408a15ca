"""A process that ends, or is told to, while a call runs."""

from __future__ import annotations

import textwrap

import pytest

from python_tests.kernels import cuda_backends

from .process import said

_SCENES = """
import contextlib

tensors = problem(256, 600)
emulated_tensors = problem(2, 48)

def call(kind):
    if kind == "backward":
        gradients(tensors)
    elif kind == "emulated":
        with testing.backend("cuda_emulated"):
            forward(emulated_tensors)
    else:
        torch.set_num_threads(int(kind))
        forward(tensors)

def daemon(kind):
    "Returns while a daemon thread is in a call."
    inside = threading.Event()
    def work():
        while True:
            inside.set()
            call(kind)
    threading.Thread(target=work, daemon=True).start()
    inside.wait()
    time.sleep(0.05)
"""


@pytest.mark.parametrize("kind", ["1", "2", "backward", "emulated"])
def test_the_interpreter_ends_while_a_daemon_thread_is_in_a_call(kind: str):
    """It ended the process with SIGABRT before: Python ends such a thread by unwinding it."""
    if kind == "emulated" and "cuda_emulated" not in cuda_backends():
        pytest.skip("needs the emulation (CAPSROUTE_EMULATION=1)")
    program = f"""
        for _ in range(4):
            print(in_a_child(lambda: daemon({kind!r}), end=sys.exit))
    """
    assert said(_dedented(program))[-4:] == ["0"] * 4


def test_other_ends_during_a_call():
    program = """
        def raised():
            daemon("2")
            sys.stderr = open(os.devnull, "w")
            raise ValueError("uncaught")
        def left():
            daemon("2")
            sys.exit(5)
        def at_once():
            daemon("2")
            os._exit(7)
        def terminated():
            daemon("2")
            os.kill(os.getpid(), signal.SIGTERM)
            call("1")
        def guarded():
            try:
                raised()
            except ValueError:
                sys.exit(1)
        print(*(in_a_child(how, end=sys.exit) for how in (guarded, left, at_once, terminated)))
    """
    assert said(_dedented(program))[-1] == "1 5 7 -15"


def test_signals_during_a_call():
    """Handlers run once the call has ended; one that raises leaves the process as it was."""
    program = """
        expected, small = forward(tensors), forward(emulated_tensors)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        rung = []
        signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
        for _ in range(5):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            assert torch.equal(forward(tensors), expected)
            while len(rung) == 0:
                time.sleep(0.001)
            rung.clear()
        interrupted = 0
        for _ in range(5):
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                while True:
                    forward(tensors)
            except KeyboardInterrupt:
                interrupted += 1
            assert torch.equal(forward(emulated_tensors), small)
        print(interrupted)
    """
    assert said(_dedented(program))[-1] == "5"


def _dedented(program: str) -> str:
    return _SCENES + textwrap.dedent(program)
