# Reads the options that choose what is built, and answers every wrong one with a sentence. setup.py passes the
# environment variables of the same names, and looks for the prefix "capsroute: " to show the sentence alone.

set(CAPSROUTE_CUDA "auto" CACHE STRING "CUDA kernels: auto (where nvcc is found), 0 (never) or 1 (or else stop)")
set(CAPSROUTE_CUDA_ARCHS "" CACHE STRING
    "CUDA architectures: native, all, or a list such as 80;90;120; empty is native where a GPU is visible, else all")
set(CAPSROUTE_EMULATION "0" CACHE STRING "1 builds the CUDA kernels for the CPU, for tests")

function(capsroute_stop sentence)
    message(FATAL_ERROR "capsroute: ${sentence}")
endfunction()

if(NOT CAPSROUTE_CUDA MATCHES "^(auto|0|1)$")
    capsroute_stop("CAPSROUTE_CUDA must be auto, 0 or 1, but it is '${CAPSROUTE_CUDA}'.")
endif()
string(REGEX REPLACE "[,; ]+" ";" CAPSROUTE_CUDA_ARCH_LIST "${CAPSROUTE_CUDA_ARCHS}")
if(NOT CAPSROUTE_CUDA_ARCH_LIST MATCHES "^(|native|all|[1-9][0-9]+[af]?(;[1-9][0-9]+[af]?)*)$")
    capsroute_stop("CAPSROUTE_CUDA_ARCHS must be native, all or a list such as 80,90,120, but it is '${CAPSROUTE_CUDA_ARCHS}'.")
endif()
if(NOT CAPSROUTE_EMULATION MATCHES "^[01]$")
    capsroute_stop("CAPSROUTE_EMULATION must be 0 or 1, but it is '${CAPSROUTE_EMULATION}'.")
endif()

if(CAPSROUTE_EMULATION AND NOT emulation_sources)
    capsroute_stop("CAPSROUTE_EMULATION=1 was asked for, but capsroute ${CAPSROUTE_VERSION} has no CUDA kernels to emulate.")
endif()

if(CAPSROUTE_CUDA STREQUAL "1")
    include(CheckLanguage)
    if(NOT CMAKE_CUDA_COMPILER)
        unset(CMAKE_CUDA_COMPILER CACHE) # an earlier search that found none does not count
    endif()
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
        capsroute_stop("CAPSROUTE_CUDA=1 was asked for, but no working nvcc was found: put it on PATH or name it in CUDACXX, or build without CUDA by CAPSROUTE_CUDA=auto.")
    elseif(NOT cuda_sources)
        capsroute_stop("CAPSROUTE_CUDA=1 was asked for, but capsroute ${CAPSROUTE_VERSION} has no CUDA kernels: build it with CAPSROUTE_CUDA=auto.")
    endif()
endif()
