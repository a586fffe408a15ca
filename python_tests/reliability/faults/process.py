"""Programs that may die, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from python_tests.packaging.tree import ROOT

PRELUDE = '''
import os, resource, signal, sys, threading, time
import torch
import capsroute
from capsroute import testing

def problem(batch=32, inputs=300):
    torch.manual_seed(0)
    return torch.randn(batch, inputs, 8, requires_grad=True), torch.randn(inputs, 10, 16, 8, requires_grad=True)

def forward(tensors):
    with torch.no_grad():
        return capsroute.dynamic_routing(*tensors)

def gradients(tensors):
    return torch.autograd.grad(capsroute.dynamic_routing(*tensors).square().sum(), tensors)

def equal(one, other):
    "Bit by bit and without torch, whose own comparison may take threads that a forked child does not have."
    return all(a.detach().numpy().tobytes() == b.detach().numpy().tobytes() for a, b in zip(one, other, strict=True))

def in_a_child(work, seconds=60, end=os._exit):
    """The status of a forked child that does the work and ends; by SIGALRM where it hangs.

    Its end is that of the children of multiprocessing, or sys.exit: then torch joins the threads of a pool that
    torch.set_num_threads has made, and crashes where these stayed behind in the parent.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        work()
        end(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def address_space(more):
    "Leaves this process so many MiB beyond what it has mapped."
    pages = int(open("/proc/self/statm").read().split()[0])
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more * 2**20, most))

def lift():
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
'''


def run(program: str, *, prelude: str = PRELUDE, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a program behind names that many need; it is ended when it takes too many seconds."""
    return subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def said(program: str, *, prelude: str = PRELUDE) -> list[str]:
    """The lines that a program printed, which must end well."""
    done = run(program, prelude=prelude)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()
