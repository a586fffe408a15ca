"""Installs capsroute in every way that users do, in empty environments, and tests what was installed there.

``python -m python_tests.reliability.installations --help`` says how; docs/reliability/installations.md has what came
of it.
"""
