# The Python modules. Not part of the core: only this needs Python and pybind11.

set(PYBIND11_FINDPYTHON ON)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 REQUIRED CONFIG)

function(capsroute_add_module name)
    # NO_EXTRAS: link-time optimisation would mix code of different instruction sets.
    pybind11_add_module(${name} MODULE NO_EXTRAS ${ARGN})
    capsroute_flags(${name})
    if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CAPSROUTE_SANITIZE)
        pybind11_strip(${name})
    endif()
endfunction()
