"""The ways in which capsroute comes onto a machine. Each is a function that fails or says what it saw."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import wheels
from .installed import check_import, check_tests, openmp
from .workshop import Failure, Workshop, run, without_compiler

WAYS: dict[str, Callable[[Workshop, str], list[str]]] = {}
BUILD_TOOLS = ("setuptools>=77", "pybind11>=2.13", "ninja>=1.11", "cmake>=3.24", "wheel")


def way(function: Callable[[Workshop, str], list[str]]) -> Callable[[Workshop, str], list[str]]:
    """Enters a way under its name; the first line of its docstring is what the table says of it."""
    WAYS[function.__name__.replace("_", "-")] = function
    return function


def described(name: str) -> str:
    """What a way does, in a few words."""
    return (WAYS[name].__doc__ or "").splitlines()[0].rstrip(".")


@way
def wheel(shop: Workshop, tests: str) -> list[str]:
    """A wheel from the sdist, repaired, installed and tested where no compiler is in reach."""
    repaired, said = wheels.check(shop)
    place = shop.environment("wheel")
    before = place.files()
    place.pip("install", "--quiet", repaired, cwd=shop.folder, environment=without_compiler(shop.folder))
    said.append(check_import(shop, place))
    (loaded,) = openmp(shop, place) or [None]
    if loaded is None or not loaded.is_relative_to(shop.base.site):
        raise Failure(f"the OpenMP library in use is {loaded}, and not torch's own")
    said += ["one OpenMP library is loaded: torch's own", *check_tests(shop, place, tests)]
    place.pip("uninstall", "--quiet", "--yes", "capsroute", cwd=shop.folder)
    if left := place.files() - before:
        raise Failure(f"an uninstalled wheel leaves {sorted(left)[:5]}")
    return [*said, "uninstalled without a trace"]


def _from_source(shop: Workshop, name: str, *arguments: object, source: Path | None = None) -> list[str]:
    place = shop.environment(name)
    place.pip("install", "--quiet", *arguments, cwd=shop.folder, environment=shop.variables())
    return [check_import(shop, place, source)]


@way
def sdist(shop: Workshop, tests: str) -> list[str]:
    """`pip install` of the sdist, built in isolation, where no torch is."""
    return _from_source(shop, "sdist", shop.sdist)


@way
def path(shop: Workshop, tests: str) -> list[str]:
    """`pip install` of a source folder whose path has spaces and letters that are not ASCII."""
    return _from_source(shop, "path with späces", shop.tree)


@way
def editable(shop: Workshop, tests: str) -> list[str]:
    """`pip install --editable`, from such a path too."""
    return _from_source(shop, "editable", "--editable", shop.tree, source=shop.tree)


@way
def offline(shop: Workshop, tests: str) -> list[str]:
    """Without a network: the wheel, then the sdist without build isolation, from a folder of files."""
    house = shop.folder / "wheelhouse"
    house.mkdir()
    shutil.copy(shop.wheel, house)
    place = shop.environment("offline")
    place.pip("install", "--quiet", *BUILD_TOOLS, cwd=shop.folder)
    # Root may take the network away; for others it is pip alone that looks nowhere else.
    alone = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    pip = [*alone, place.python, "-m", "pip", "install", "--quiet", "--no-index"]
    run([*pip, "--find-links", house, "capsroute"], cwd=shop.folder, environment=shop.variables())
    said = [f"wheel {'without any network' if alone else 'with --no-index'}: {check_import(shop, place)}"]
    place.pip("uninstall", "--quiet", "--yes", "capsroute", cwd=shop.folder)
    run([*pip, "--no-build-isolation", shop.sdist], cwd=shop.folder, environment=shop.variables())
    return [*said, f"sdist: {check_import(shop, place)}"]


@way
def readonly_home(shop: Workshop, tests: str) -> list[str]:
    """Where the home cannot be written, not even by root."""
    if os.geteuid() != 0:
        raise Failure("only root can mount a folder as read-only: run this one as root")
    home = shop.folder / "home"
    home.mkdir()
    place = shop.environment("readonly-home")
    own = without_compiler(shop.folder, HOME=str(home), OMP_NUM_THREADS="1", PIP_NO_CACHE_DIR="1")
    script = (
        f"PATH={os.defpath}:/usr/sbin:/sbin; mount --bind $HOME $HOME && mount -o remount,bind,ro $HOME || exit 1; "
        f'touch $HOME/file && exit 1; PATH={shlex.quote(own["PATH"])}; exec "$@"'
    )
    closed = ("/usr/bin/env", "unshare", "--mount", "sh", "-c", script, "sh")
    # `env` and `unshare` are looked for before the PATH of the installed package counts.
    outer = own | {"PATH": f"{os.defpath}:/usr/sbin:/sbin"}
    pip = [*closed, place.python, "-m", "pip", "install", "--quiet", shop.wheel]
    run(pip, cwd=shop.folder, environment=outer)
    return [check_import(shop, place, before=closed, environment=outer)]


@way
def cuda(shop: Workshop, tests: str) -> list[str]:
    """With CUDA kernels compiled (`--cuda NVCC`), imported and used where no driver is."""
    if "CUDACXX" not in shop.build:
        raise Failure("name an nvcc with --cuda")
    archs = shop.build.get("CAPSROUTE_CUDA_ARCHS", "90")
    place = shop.environment("cuda")
    own = shop.variables(CAPSROUTE_CUDA="1", CAPSROUTE_CUDA_ARCHS=archs, CAPSROUTE_WERROR="1")
    place.pip("install", "--quiet", shop.tree, cwd=shop.folder, environment=own)
    said = check_import(shop, place)
    if f"CUDA [{archs.replace(',', ', ')}" not in said:
        raise Failure(f"CUDA kernels for {archs} were asked for: {said}")
    code = (
        "import torch, capsroute\n"
        "from capsroute import testing\n"
        "x, weight = torch.randn(5, 6, 3), torch.randn(6, 4, 2, 3)\n"
        "try:\n"
        "    with testing.backend('cuda'): capsroute.dynamic_routing(x, weight)\n"
        "except ValueError as error: print(error)\n"
    )
    answer = run([place.python, "-c", code], cwd=shop.tests, environment=without_compiler(shop.folder)).strip()
    if "the CUDA kernels take tensors on 'cuda', got 'cpu'" not in answer:
        raise Failure(f"a call that asks for CUDA kernels without a GPU is answered: {answer!r}")
    return [said, f"asked for CUDA kernels: {answer}"]


@way
def no_openmp_library(shop: Workshop, tests: str) -> list[str]:
    """A system that has no libgomp, as a slim container: torch's own serves, or one sentence says what is missing."""
    if os.geteuid() != 0:
        raise Failure("only root can hide a file of the system: run this one as root")
    place = shop.environment("no-openmp-library")
    place.pip("install", "--quiet", shop.wheel, cwd=shop.folder)
    code = (
        "try:\n    import capsroute\n    print('imported')\nexcept ImportError as error: print('ImportError:', error)"
    )
    hidden = "$(ldconfig -p | sed -n 's/.*libgomp.so.1 .*=> //p')"
    script = f'for f in {hidden}; do mount --bind /dev/null "$(readlink -f "$f")"; done; exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, place.python, code]
    answer = run(command, cwd=shop.tests).strip().splitlines()[-1]
    bundled = [path.name for path in shop.base.site.glob("torch/lib/libgomp*")]
    expected = "imported" if bundled else "ImportError: capsroute needs libgomp.so.1"
    if not answer.startswith(expected):
        raise Failure(f"torch brings {bundled}; expected {expected!r}, got {answer!r}")
    return [f"torch brings {', '.join(bundled) or 'none'}: {answer}"]


def supported() -> list[str]:
    """The ways that can be tried here without further options."""
    root = os.geteuid() == 0 and sys.platform == "linux"
    return [name for name in WAYS if name != "cuda" and (root or name not in ("readonly-home", "no-openmp-library"))]
