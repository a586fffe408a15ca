#!/usr/bin/env bash
# MIND of torch-rechub draws the initial logits of its routing in each call, in evaluation too. MatchTrainer.export_onnx
# keeps the draw: the graph has a node RandomNormalLike, and a server that is asked twice about the same user gets other
# interests each time.
#
# torch-rechub 0.9.0, torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0. Seen: the lines compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 torch-rechub==0.9.0 onnx==1.23.2 \
    onnxscript==0.7.2 onnxruntime==1.32.0
cat >"$folder/program.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import MIND
from torch_rechub.trainers import MatchTrainer

torch.manual_seed(0)
items = {"vocab_size": 100, "embed_dim": 16, "pooling": "concat", "shared_with": "item"}
model = MIND(
    user_features=[SparseFeature("user", vocab_size=10, embed_dim=16)],
    history_features=[SequenceFeature("history", **items)],
    item_features=[SparseFeature("item", vocab_size=100, embed_dim=16)],
    neg_item_feature=[SequenceFeature("negatives", **items)],
    max_length=10,
    interest_num=4,
)
file = f"{sys.argv[1]}/mind.onnx"
MatchTrainer(model, mode=2, device="cpu", model_path=sys.argv[1]).export_onnx(file, mode="user", seq_length=10)
draws = sorted({node.op_type for node in onnx.load(file).graph.node if "Random" in node.op_type})
session = onnxruntime.InferenceSession(file)
user = {
    put.name: np.resize(np.arange(1, 8), [size if isinstance(size, int) else 2 for size in put.shape])
    for put in session.get_inputs()
}
first, second = (session.run(None, user)[0] for _ in range(2))
print("nodes that draw:", draws, file=sys.stderr)
print("same answer twice:", np.array_equal(first, second), file=sys.stderr)
PY
"$folder/venv/bin/python" -W ignore "$folder/program.py" "$folder" 2>&1 >/dev/null | grep -E '^(nodes|same)' | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
nodes that draw: ['RandomNormalLike']
same answer twice: False
SEEN
