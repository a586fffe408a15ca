#!/usr/bin/env bash
# CapsuleNetwork of torch-rechub takes routing_times, the number of routing iterations. With 1 or 2 its output has no
# gradient at all, so that its layer is never trained: votes are cut from the graph in the first two iterations, however
# many there are. With 4 or 5 the output is that of 3 in every bit: logits are not updated after the second.
#
# torch-rechub 0.9.0, torch 2.13.0. Seen: the lines that are compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 torch-rechub==0.9.0
cat >"$folder/program.py" <<'PY'
import torch
from torch_rechub.basic.layers import CapsuleNetwork

items, mask = torch.randn(8, 20, 16, generator=torch.Generator().manual_seed(0)), torch.ones(8, 20)
outputs = {}
for times in range(1, 6):
    torch.manual_seed(1)
    network = CapsuleNetwork(16, 20, bilinear_type=1, interest_num=4, routing_times=times)
    outputs[times] = network(items, mask)
    same = [other for other in outputs if torch.equal(outputs[other], outputs[times])]
    print(f"routing_times={times}: has a gradient {outputs[times].requires_grad}, equals that of {same[0]}")
PY
"$folder/venv/bin/python" "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
routing_times=1: has a gradient False, equals that of 1
routing_times=2: has a gradient False, equals that of 2
routing_times=3: has a gradient True, equals that of 3
routing_times=4: has a gradient True, equals that of 3
routing_times=5: has a gradient True, equals that of 3
SEEN
