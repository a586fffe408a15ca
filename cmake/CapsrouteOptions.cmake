# Reads the options that choose what is built, and answers every wrong one with a sentence. setup.py passes the
# environment variables of the same names, and looks for the prefix "capsroute: " to show the sentence alone.

set(CAPSROUTE_CUDA "auto" CACHE STRING "CUDA kernels: auto (where nvcc is found), 0 (never) or 1 (or else stop)")
set(CAPSROUTE_CUDA_ARCHS "" CACHE STRING
    "CUDA architectures: native, all, or a list such as 80;90;120; empty is native where a GPU is visible, else all")
set(CAPSROUTE_EMULATION "0" CACHE STRING "1 builds the CUDA kernels for the CPU too, as a second module, for tests")
set(CAPSROUTE_SANITIZE "" CACHE STRING "Sanitizers, for tests: address (with undefined behaviour), thread, or none")

# What kernels are written and tested for. Others are refused: 100 runs on sm_103 too, and 120 on sm_121.
set(CAPSROUTE_CUDA_ARCHS_KNOWN 75 80 86 89 90 100 120)

function(capsroute_stop sentence)
    message(FATAL_ERROR "capsroute: ${sentence}")
endfunction()

if(NOT CAPSROUTE_CUDA MATCHES "^(auto|0|1)$")
    capsroute_stop("CAPSROUTE_CUDA must be auto, 0 or 1, but it is '${CAPSROUTE_CUDA}'.")
endif()
if(NOT CAPSROUTE_SANITIZE MATCHES "^(|address|thread)$")
    capsroute_stop("CAPSROUTE_SANITIZE must be address, thread or empty, but it is '${CAPSROUTE_SANITIZE}'.")
endif()
if(NOT CAPSROUTE_EMULATION MATCHES "^[01]$")
    capsroute_stop("CAPSROUTE_EMULATION must be 0 or 1, but it is '${CAPSROUTE_EMULATION}'.")
endif()

string(REGEX REPLACE "[,; ]+" ";" CAPSROUTE_CUDA_ARCHS_ASKED "${CAPSROUTE_CUDA_ARCHS}")
if(NOT CAPSROUTE_CUDA_ARCHS_ASKED MATCHES "^(|native|all|[0-9]+(;[0-9]+)*)$")
    capsroute_stop("CAPSROUTE_CUDA_ARCHS must be native, all or a list such as 80,90,120, but it is '${CAPSROUTE_CUDA_ARCHS}'.")
endif()
if(CAPSROUTE_CUDA_ARCHS_ASKED MATCHES "[0-9]")
    foreach(arch IN LISTS CAPSROUTE_CUDA_ARCHS_ASKED)
        if(NOT arch IN_LIST CAPSROUTE_CUDA_ARCHS_KNOWN)
            list(JOIN CAPSROUTE_CUDA_ARCHS_KNOWN ", " known)
            capsroute_stop("CAPSROUTE_CUDA_ARCHS names ${arch}, but the kernels are written for ${known} (100 runs on sm_103 too, and 120 on sm_121).")
        endif()
    endforeach()
    list(SORT CAPSROUTE_CUDA_ARCHS_ASKED COMPARE NATURAL)
    list(REMOVE_DUPLICATES CAPSROUTE_CUDA_ARCHS_ASKED)
endif()
