# Reads the options that choose what is built, and answers every wrong one with a sentence. setup.py passes the
# environment variables of the same names, and looks for the prefix "capsroute: " to show the sentence alone.

set(CAPSROUTE_CUDA "" CACHE STRING
    "CUDA kernels: auto (where nvcc is found), 0 (never) or 1 (or else stop); empty is 1 with FORCE_CUDA=1, else auto")
set(CAPSROUTE_CUDA_ARCHS "" CACHE STRING
    "CUDA architectures: native, all, or a list such as 80;90;120; empty is TORCH_CUDA_ARCH_LIST, else native where a GPU is visible, else all")
set(CAPSROUTE_EMULATION "0" CACHE STRING "1 builds the CUDA kernels for the CPU too, as a second module, for tests")
set(CAPSROUTE_SANITIZE "" CACHE STRING "Sanitizers, for tests: address (with undefined behaviour), thread, or none")

# What kernels can be compiled for; capsroute/routing/backends.py advises the same. A GPU runs what was compiled for its
# major version and a minor version up to its own, so that 100 is for sm_103 and sm_107 too, and 120 for sm_121.
set(CAPSROUTE_CUDA_ARCHS_KNOWN 75 80 86 87 88 89 90 100 110 120)
# Of these, systems on a chip (Jetson Orin 87, Thor 110), which run nothing that was compiled for another. They are
# compiled for where they are asked for or found; `all` holds PTX for them, and only the others are tested.
set(CAPSROUTE_CUDA_ARCHS_ON_CHIP 87 88 110)
set(CAPSROUTE_CUDA_ARCHS_ALL ${CAPSROUTE_CUDA_ARCHS_KNOWN})
list(REMOVE_ITEM CAPSROUTE_CUDA_ARCHS_ALL ${CAPSROUTE_CUDA_ARCHS_ON_CHIP})

function(capsroute_stop sentence)
    message(FATAL_ERROR "capsroute: ${sentence}")
endfunction()

# FORCE_CUDA is what extensions of PyTorch are told; what only capsroute is told goes before it.
set(CAPSROUTE_CUDA_ASKED "CAPSROUTE_CUDA=${CAPSROUTE_CUDA}")
if(CAPSROUTE_CUDA STREQUAL "")
    set(CAPSROUTE_CUDA auto)
    if(NOT "$ENV{FORCE_CUDA}" MATCHES "^[01]?$")
        capsroute_stop("FORCE_CUDA must be 0 or 1, but it is '$ENV{FORCE_CUDA}': set CAPSROUTE_CUDA, which goes before it.")
    endif()
    if("$ENV{FORCE_CUDA}" STREQUAL "1")
        set(CAPSROUTE_CUDA 1)
        set(CAPSROUTE_CUDA_ASKED "FORCE_CUDA=1")
    endif()
endif()
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
            set(why "100 runs on sm_103 and sm_107 too, and 120 on sm_121")
            if(arch LESS 75)
                set(why "nothing older will do: CUDA 13 does not compile for it")
            endif()
            capsroute_stop("CAPSROUTE_CUDA_ARCHS names ${arch}, but the kernels are written for ${known} (${why}).")
        endif()
    endforeach()
    list(SORT CAPSROUTE_CUDA_ARCHS_ASKED COMPARE NATURAL)
    list(REMOVE_DUPLICATES CAPSROUTE_CUDA_ARCHS_ASKED)
endif()
