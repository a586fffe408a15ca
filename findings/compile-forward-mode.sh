#!/usr/bin/env bash
# A function that torch.compile compiles by its default backend loses the tangent of a dual tensor that it is given,
# with no error and no warning: forward_ad.unpack_dual finds None, where the function itself has a tangent, and has it
# when the backend is aot_eager.
#
# torch 2.13.0. Seen: the lines that are compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy
cat >"$folder/program.py" <<'PY'
import torch
import torch.autograd.forward_ad as forward_ad


def square(x):
    return x * x


x, tangent = torch.ones(2), torch.full((2,), 5.0)
for name, function in (
    ("eager", square),
    ("aot_eager", torch.compile(square, backend="aot_eager")),
    ("inductor", torch.compile(square)),
):
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent
    print(name, None if found is None else found.tolist())
PY
"$folder/venv/bin/python" -W error::UserWarning "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
eager [10.0, 10.0]
aot_eager [10.0, 10.0]
inductor None
SEEN
