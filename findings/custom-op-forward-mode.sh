#!/usr/bin/env bash
# An operator made by torch.library.custom_op, with its derivative registered by register_autograd, has the right
# gradient in reverse mode. In forward mode torch.func.jvp, jacfwd and linearize answer zeros for it, and a dual tensor
# comes out without a tangent, with no error and no warning. Only where an input requires grad is there an error.
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


@torch.library.custom_op("example::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


double.register_autograd(lambda ctx, grad: 2 * grad)
x, tangent = torch.ones(2), torch.full((2,), 5.0)
print("jacobian", torch.autograd.functional.jacobian(double, x).tolist())
print("jacfwd", torch.func.jacfwd(double)(x).tolist())
print("jvp", torch.func.jvp(double, (x,), (tangent,))[1].tolist())
with forward_ad.dual_level():
    print("dual", forward_ad.unpack_dual(double(forward_ad.make_dual(x, tangent))).tangent)
    try:
        double(forward_ad.make_dual(x.requires_grad_(), tangent))
    except NotImplementedError as error:
        print("dual that requires grad", type(error).__name__)
PY
"$folder/venv/bin/python" -W error::UserWarning "$folder/program.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
jacobian [[2.0, 0.0], [0.0, 2.0]]
jacfwd [[0.0, 0.0], [0.0, 0.0]]
jvp [0.0, 0.0]
dual None
dual that requires grad NotImplementedError
SEEN
