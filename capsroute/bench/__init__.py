"""The benchmark suite: the routing op beside plain PyTorch and ``torch.compile``, in one run.

Each fact has one file: :mod:`.shapes` and :mod:`.sweep` (what is measured), :mod:`.peers` (against what),
:mod:`.contenders` (who is right, and how fast), :mod:`.timing`, :mod:`.memory`, :mod:`.flops` and :mod:`.ceilings`
(how), :mod:`.environment` and :mod:`.record` (what is written down), :mod:`.report` and :mod:`.plots` (what is shown),
:mod:`.suite` (the run), :mod:`.baseline` (whether it has become slower). :mod:`.training_suite` is the run over whole
training steps of :mod:`.training`, and :mod:`.figures` makes documents of the results of both.
"""
