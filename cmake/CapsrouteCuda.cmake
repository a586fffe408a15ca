# Finds nvcc, decides for which architectures it compiles, and enables the language. Sets CAPSROUTE_CUDA_FOUND,
# CAPSROUTE_CUDA_ARCHS_BUILT (their numbers) and CAPSROUTE_CUDA_SUMMARY (what the last line of the configuration says).

set(CAPSROUTE_CUDA_FOUND OFF)
set(CAPSROUTE_CUDA_ARCHS_BUILT)
set(nvcc_at_least 12.4)

include(CapsrouteArchs) # capsroute_choose_archs()

# Sets nvcc, nvcc_version, nvcc_archs (those of ours that it knows, in rising order), and nvcc_fault: why it will not do,
# else empty. CMake itself would take any nvcc, and stumble over an old one with an error that does not say so.
function(capsroute_find_nvcc)
    if(CMAKE_CUDA_COMPILER) # of an earlier run in this build folder, or given to cmake
        set(nvcc "${CMAKE_CUDA_COMPILER}")
    elseif(NOT "$ENV{CUDACXX}" STREQUAL "")
        find_program(nvcc NAMES "$ENV{CUDACXX}" NO_CACHE)
    else()
        find_program(nvcc NAMES nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin NO_CACHE)
    endif()
    set(version)
    set(archs)
    if(nvcc)
        execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE said ERROR_QUIET)
        string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" version "${said}")
        set(version "${CMAKE_MATCH_1}")
        execute_process(COMMAND "${nvcc}" --list-gpu-arch OUTPUT_VARIABLE said ERROR_QUIET)
        foreach(arch IN LISTS CAPSROUTE_CUDA_ARCHS_KNOWN)
            if(said MATCHES "compute_${arch}[ \n]")
                list(APPEND archs ${arch})
            endif()
        endforeach()
    endif()
    set(fault)
    if(version AND version VERSION_LESS nvcc_at_least)
        set(fault "${nvcc} is of CUDA ${version}: install ${nvcc_at_least} or newer, or name another nvcc in CUDACXX")
    elseif(NOT archs)
        set(fault "no working nvcc was found: put it on PATH or name it in CUDACXX")
    endif()
    set(nvcc "${nvcc}" PARENT_SCOPE)
    set(nvcc_version "${version}" PARENT_SCOPE)
    set(nvcc_archs "${archs}" PARENT_SCOPE)
    set(nvcc_fault "${fault}" PARENT_SCOPE)
endfunction()

# What brings the parts of CUDA that nvcc needs beside it. PyPI has them as packages of their own, and others likewise.
set(cuda_parts "nv/|cuda/|cub/|thrust/=nvidia-cuda-cccl" "crt/=nvidia-cuda-crt" "cicc=nvidia-nvvm" ".=nvidia-cuda-runtime")

# Sets nvcc_fault to why nvcc cannot compile and link what the kernels include, else to nothing. CMake's own check
# compiles a file that includes nothing, and passes where the build then fails.
function(capsroute_try_nvcc)
    set(folder "${PROJECT_BINARY_DIR}/CMakeFiles/capsroute_probe")
    file(REMOVE_RECURSE "${folder}")
    file(MAKE_DIRECTORY "${folder}")
    separate_arguments(flags UNIX_COMMAND "$ENV{CUDAFLAGS} ${CMAKE_CUDA_FLAGS}")
    list(GET CAPSROUTE_CUDA_ARCHS_BUILT 0 arch)
    execute_process(
        COMMAND "${nvcc}" ${flags} -std=c++20 -arch=sm_${arch} -cudart=static -ccbin "${nvcc_host}"
            "-I${PROJECT_SOURCE_DIR}/csrc" "${PROJECT_SOURCE_DIR}/cmake/probe.cu" -o "${folder}/probe"
        RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
    set(fault "it wrote no program")
    if(NOT status EQUAL 0)
        set(missing)
        # The words of GCC and Clang, the shell, and the linker.
        foreach(words IN ITEMS "error: '?([^ ':\n]+)'?:? (No such file|file not found)" "([^ /:\n]+): not found"
                "cannot find -l(cudart_static|cudadevrt)")
            if(NOT missing AND said MATCHES "${words}")
                set(missing "${CMAKE_MATCH_1}")
            endif()
        endforeach()
        if(missing)
            foreach(part IN LISTS cuda_parts)
                string(REGEX MATCH "^(.+)=(.+)$" part "${part}")
                set(package "${CMAKE_MATCH_2}")
                if(missing MATCHES "^(${CMAKE_MATCH_1})")
                    break()
                endif()
            endforeach()
            set(fault "${missing} is missing, so install ${package} (PyPI) or a whole CUDA toolkit")
        elseif(said MATCHES "([^\n]*([Ee]rror|fatal)[^\n]*)")
            string(STRIP "${CMAKE_MATCH_1}" fault)
        endif()
    endif()
    if(NOT EXISTS "${folder}/probe")
        set(nvcc_fault "${nvcc} cannot compile here: ${fault}" PARENT_SCOPE)
    endif()
endfunction()

# Sets nvcc_fault, and where that is empty all that enabling the language takes.
macro(capsroute_choose_nvcc)
    if(NOT CMAKE_CUDA_COMPILER)
        unset(CMAKE_CUDA_COMPILER CACHE) # an earlier search that found none does not count
    endif()
    capsroute_find_nvcc()
    if(NOT nvcc_fault)
        capsroute_choose_archs()
        set(nvcc_fault "${archs_fault}")
    endif()
    set(nvcc_host "$ENV{CUDAHOSTCXX}")
    if(CMAKE_CUDA_HOST_COMPILER)
        set(nvcc_host "${CMAKE_CUDA_HOST_COMPILER}")
    elseif(nvcc_host STREQUAL "")
        set(nvcc_host "${CMAKE_CXX_COMPILER}") # one compiler for all that runs on the CPU
    endif()
    if(NOT nvcc_fault AND NOT CAPSROUTE_NVCC_WORKS STREQUAL "${nvcc} ${nvcc_version} ${nvcc_host}")
        capsroute_try_nvcc()
    endif()
endmacro()

if(CAPSROUTE_CUDA STREQUAL "0")
    set(CAPSROUTE_CUDA_SUMMARY "none, as asked")
    if("$ENV{FORCE_CUDA}" STREQUAL "1")
        string(APPEND CAPSROUTE_CUDA_SUMMARY " (CAPSROUTE_CUDA=0 goes before FORCE_CUDA=1)")
    endif()
else()
    capsroute_choose_nvcc()
    if(nvcc_fault)
        if(CAPSROUTE_CUDA STREQUAL "1")
            capsroute_stop("${CAPSROUTE_CUDA_ASKED} was asked for, but ${nvcc_fault} (CAPSROUTE_CUDA=0 builds without CUDA).")
        endif()
        set(CAPSROUTE_CUDA_SUMMARY "none, ${nvcc_fault}")
    else()
        set(CAPSROUTE_NVCC_WORKS "${nvcc} ${nvcc_version} ${nvcc_host}" CACHE INTERNAL "what was tried and found good")
        set(CMAKE_CUDA_ARCHITECTURES OFF) # generate_code says it, in ways that CMake has no words for
        set(CMAKE_CUDA_COMPILER "${nvcc}")
        set(ENV{CUDAHOSTCXX} "${nvcc_host}")
        set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
        enable_language(CUDA)
        if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # the oldest CMake that we take does not know it yet
            set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
        endif()
        set(CAPSROUTE_CUDA_FOUND ON)
        list(JOIN CAPSROUTE_CUDA_ARCHS_BUILT ", " archs)
        set(CAPSROUTE_CUDA_SUMMARY "${archs} by nvcc ${nvcc_version}${archs_note}")
    endif()
endif()

# What targets with CUDA sources need besides capsroute_flags.
function(capsroute_cuda_flags target)
    set_target_properties(${target} PROPERTIES
        CUDA_STANDARD 20
        CUDA_STANDARD_REQUIRED ON
        CUDA_EXTENSIONS OFF
        CUDA_VISIBILITY_PRESET hidden)
    list(JOIN CAPSROUTE_CUDA_ARCHS_BUILT "," archs)
    # Compressed, the kernels of all architectures take a third of the space; what nvcc does by itself saves less.
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${generate_code};-Xfatbin=-compress-all>")
    target_compile_definitions(${target} PRIVATE
        CAPSROUTE_CUDA_BUILT
        $<$<COMPILE_LANGUAGE:CXX>:CAPSROUTE_CUDA_ARCHS_BUILT=${archs}>)
    if(CAPSROUTE_WERROR)
        target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
    endif()
endfunction()
