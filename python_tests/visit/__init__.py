"""Everything that a machine with a GPU should show, unattended and in pieces: ``python -m python_tests.visit --help``.

:mod:`.pieces` lists what is done, :mod:`.visit` does as much of it as there is time for and keeps what is known, and
:mod:`.resume` is the plugin by which pytest goes on where the last call stopped. ``--rehearse`` does the same on the
emulated device, so that a mistake here is not found out on borrowed time.
"""
