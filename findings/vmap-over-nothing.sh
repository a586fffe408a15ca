#!/usr/bin/env bash
# torch.vmap over an axis of size 0. A convolution returns a tensor with the wrong number of samples, without a
# word, where the same call over an axis of size 1 has the right one. A sum that is multiplied by a number raises an
# IndexError that names neither.
#
# torch 2.13.0. Seen: the lines that are compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy
cat >"$folder/program.py" <<'PY'
import torch

weight = torch.ones(3, 1, 2, 2)
for size in (1, 0):
    convolved = torch.vmap(lambda x: torch.nn.functional.conv2d(x, weight))(torch.zeros(size, 2, 1, 5, 5))
    print(f"size {size}: convolution", list(convolved.shape))
    try:
        print(f"size {size}: sum", list(torch.vmap(lambda x: x.sum() * 2)(torch.zeros(size, 3)).shape))
    except IndexError as error:
        print(f"size {size}: sum", type(error).__name__, error)
PY
"$folder/venv/bin/python" "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
size 1: convolution [1, 2, 3, 4, 4]
size 1: sum [1]
size 0: convolution [0, 0, 3, 4, 4]
size 0: sum IndexError select(): index 0 out of range for tensor of size [0] at dimension 0
SEEN
