"""A process that ends, or is told to, while a call runs."""

from __future__ import annotations

import pytest

from python_tests.kernels import cuda_backends

from .process import PRELUDE, said

_SCENES = """
tensors = problem(256, 600)
emulated_tensors = problem(2, 48)

class Last:
    "What the interpreter drops when it has begun to end: it waits for the call, whose thread then wants the lock back."

    def __init__(self, thread):
        self.state = f"/proc/self/task/{thread.native_id}/stat"

    def __del__(self, open=os.open, read=os.read, close=os.close, sleep=time.sleep, write=os.write):
        idle = 0
        for turn in range(6000):
            file = open(self.state, 0)
            running = b") R " in read(file, 200)
            close(file)
            if turn == 0 and running:
                write(1, b"ends during the call\\n")
            idle = 0 if running else idle + 1
            if idle == 20:
                return
            sleep(0.01)

def in_a_call(kind):
    "Returns while a daemon thread is in a call of the compiled module that takes a second or more."
    emulated = kind == "emulated"
    inputs = problem(16, 192) if emulated else problem(512, 3000)
    inside = threading.Event()
    def work():
        with testing.backend("cuda_emulated" if emulated else "cpu"):
            if kind == "backward":
                loss = capsroute.dynamic_routing(*inputs, iterations=5).square().sum()
                inside.set()
                torch.autograd.grad(loss, inputs)
            else:
                inside.set()
                capsroute.dynamic_routing(*(tensor.detach() for tensor in inputs), iterations=20)
    if kind in "12":
        torch.set_num_threads(int(kind))
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    inside.wait()
    time.sleep(0.05)
    sys.modules["last"] = Last(thread)  # not a global: the thread keeps these
"""


_ENDED = "ends during the call"


def _ends(*scenes: tuple[str, str]) -> list[str]:
    """What a child of its own says in each scene, a kind of call and how the process ends during it, and its status."""
    program = f"""
        for kind, end in {scenes!r}:
            sys.stdout.flush()
            child = os.fork()  # of a process that has computed nothing, which is as good as a new one
            if child == 0:
                in_a_call(kind)
                exec(end)
                sys.exit()
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    return said(program, prelude=PRELUDE + _SCENES)


def test_a_process_ends_while_a_daemon_thread_is_in_a_call():
    """It ended with SIGABRT before: Python ends such a thread by unwinding it."""
    scenes = {
        ("1", "raise ValueError"): [_ENDED, "1"],
        ("1", "sys.exit(5)"): [_ENDED, "5"],
        ("2", "os._exit(7)"): ["7"],
        ("2", "os.kill(os.getpid(), signal.SIGTERM)"): ["-15"],
    }
    assert _ends(*scenes) == [line for lines in scenes.values() for line in lines]


@pytest.mark.nightly
def test_a_process_ends_during_other_calls():
    kinds = ["2", "backward", *(["emulated"] if "cuda_emulated" in cuda_backends() else [])]
    assert _ends(*((kind, "pass") for kind in kinds)) == [_ENDED, "0"] * len(kinds)


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
            try:
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
                while True:
                    forward(tensors)
            except KeyboardInterrupt:
                interrupted += 1
            assert torch.equal(forward(emulated_tensors), small)
        print(interrupted)
    """
    assert said(program, prelude=PRELUDE + _SCENES)[-1] == "5"
