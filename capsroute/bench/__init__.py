"""The benchmark suite: the routing op beside plain PyTorch and ``torch.compile``, in one run.

Each fact has one file: :mod:`.shapes` (what is measured), :mod:`.peers` (against what), :mod:`.timing`,
:mod:`.memory`, :mod:`.flops` and :mod:`.ceilings` (how), :mod:`.environment` and :mod:`.report` (what is written
down), :mod:`.suite` (the run).
"""
