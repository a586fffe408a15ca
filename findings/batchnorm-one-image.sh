#!/usr/bin/env bash
# The backward of torch.nn.BatchNorm2d on the CPU is wrong, without a word, for a batch of one image and a gradient that
# lies with its channels last but whose batch axis has a stride of its own, as a permuted [H, W, B, C] has it: the same
# numbers, contiguous, give other gradients, in training and in evaluation. With two images they agree.
#
# torch 2.13.0. Seen: the lines that are compared below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy
cat >"$folder/program.py" <<'PY'
import torch

torch.manual_seed(0)
for images in (1, 2):
    for training in (True, False):
        norm = torch.nn.BatchNorm2d(8, dtype=torch.float64).train(training)
        x = torch.randn(images, 8, 4, 4, dtype=torch.float64, requires_grad=True)
        grad = torch.randn(4, 4, images, 8, dtype=torch.float64).permute(2, 3, 0, 1)
        same = grad.contiguous()
        assert torch.equal(grad, same)
        one, other = (torch.autograd.grad(norm(x), x, given)[0] for given in (grad, same))
        print(f"images={images} training={training}: agree {torch.allclose(one, other)}")
PY
"$folder/venv/bin/python" "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
images=1 training=True: agree False
images=1 training=False: agree False
images=2 training=True: agree True
images=2 training=False: agree True
SEEN
