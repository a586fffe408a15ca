#!/usr/bin/env bash
# ComirecDR of torch-rechub makes the weight of its capsules as torch.Tensor(sizes) and never draws it: it is whatever
# memory the process gets. In a new process and at usual sizes that is zeros, at which routing has no gradient: after
# training, the weight is still zeros, and no interest depends on the history.
#
# torch-rechub 0.9.0, torch 2.13.0. Seen: the lines that are compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 torch-rechub==0.9.0
cat >"$folder/program.py" <<'PY'
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import ComirecDR

torch.manual_seed(0)
items = {"vocab_size": 1000, "embed_dim": 64, "pooling": "concat", "shared_with": "item"}
model = ComirecDR(
    user_features=[SparseFeature("user", vocab_size=10, embed_dim=64)],
    history_features=[SequenceFeature("history", **items)],
    item_features=[SparseFeature("item", vocab_size=1000, embed_dim=64)],
    neg_item_feature=[SequenceFeature("negatives", **items)],
    max_length=50,
    interest_num=4,
)
sizes = {"user": (10, 64), "history": (1000, 64, 50), "item": (1000, 64), "negatives": (1000, 64, 3)}
batch = {name: torch.randint(1, most, shape) for name, (most, *shape) in sizes.items()}
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
print("before training:", int(model.capsule.w.count_nonzero()), "of", model.capsule.w.numel(), "weights are not 0")
for _ in range(20):
    loss = torch.nn.functional.cross_entropy(model(batch), torch.zeros(64, dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("after 20 steps:", int(model.capsule.w.count_nonzero()))
model.mode = "user"
other = {**batch, "history": torch.randint(1, 1000, (64, 50))}
print("interests do not depend on the history:", torch.equal(model(batch), model(other)))
PY
"$folder/venv/bin/python" -W ignore "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
before training: 0 of 819200 weights are not 0
after 20 steps: 0
interests do not depend on the history: True
SEEN
