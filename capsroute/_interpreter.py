"""Refuses to be imported in a subinterpreter, before torch is imported there, which may then hang or crash.

mod_wsgi runs each application in one unless it is told ``WSGIApplicationGroup %{GLOBAL}``.
"""

import ctypes

_this_one, _number = ctypes.pythonapi.PyInterpreterState_Get, ctypes.pythonapi.PyInterpreterState_GetID
_this_one.restype, _number.argtypes, _number.restype = ctypes.c_void_p, [ctypes.c_void_p], ctypes.c_int64

if _number(_this_one()) != 0:
    raise ImportError("capsroute cannot be imported in a subinterpreter of Python, because torch cannot")
