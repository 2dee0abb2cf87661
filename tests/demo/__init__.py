"""``make demo``: the operator's main job on the real stack, told in the terminal and checked.

:mod:`tests.demo.__main__` builds what is missing and enters the stack's namespace; :mod:`tests.demo.show` runs there.
"""
