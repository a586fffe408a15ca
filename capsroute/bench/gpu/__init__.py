"""``capsroute bench gpu``: everything that one visit to a machine with a GPU should bring home.

:mod:`.plan` says what is looked at, :mod:`.device` what is asked of the machine; :mod:`.correctness`, :mod:`.ceilings`
and :mod:`.timings` do the work, :mod:`.session` puts it in order within a budget of time; :mod:`.record`,
:mod:`.tables` and :mod:`.plots` write it down. Nothing but :mod:`.device` and :mod:`.environment` speaks to CUDA, so
that all the rest is tested without a GPU.
"""
