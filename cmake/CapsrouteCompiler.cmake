# The compiler flags that all sources share.

if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    capsroute_stop("the kernels are written with the vector extensions of GCC and Clang, but the compiler is ${CMAKE_CXX_COMPILER_ID}: name one of the two in CXX.")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 11)
    capsroute_stop("GCC 11 or newer is needed, but ${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_VERSION}.")
endif()

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release) # -O3 -DNDEBUG
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # scripts/check_isa_leaks.py reads them

set(CAPSROUTE_OPENMP_TARGET)
set(CAPSROUTE_OPENMP_FOUND OFF)
if(CAPSROUTE_OPENMP)
    find_package(OpenMP COMPONENTS CXX)
    if(OpenMP_CXX_FOUND)
        set(CAPSROUTE_OPENMP_FOUND ON)
        set(CAPSROUTE_OPENMP_TARGET OpenMP::OpenMP_CXX)
    endif()
endif()

# A sanitizer's first finding ends the program. Its modules keep their symbols, for the findings to name functions. Above
# -O1 the checks of vector code take many minutes to compile.
set(sanitize_flags)
if(CAPSROUTE_SANITIZE)
    set(sanitize_flags -O1 -g1 -fno-omit-frame-pointer -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS)
    if(CAPSROUTE_SANITIZE STREQUAL "address")
        list(APPEND sanitize_flags -fsanitize=address,undefined)
    else()
        if(CAPSROUTE_OPENMP AND NOT CAPSROUTE_OPENMP_FOUND)
            capsroute_stop("races are looked for between threads, but ${CMAKE_CXX_COMPILER} has no OpenMP: install its runtime.")
        endif()
        list(APPEND sanitize_flags -fsanitize=thread)
    endif()
endif()

# Not -ffast-math: infinities and NaN must pass through. errno and floating-point traps are not used by anybody, and
# without them square roots and selections vectorise.
function(capsroute_flags target)
    set_target_properties(${target} PROPERTIES
        CXX_STANDARD 20
        CXX_STANDARD_REQUIRED ON
        CXX_EXTENSIONS OFF
        CXX_VISIBILITY_PRESET hidden
        VISIBILITY_INLINES_HIDDEN ON
        POSITION_INDEPENDENT_CODE ON)
    target_compile_definitions(${target} PRIVATE
        CAPSROUTE_VERSION="${CAPSROUTE_VERSION}"
        $<$<BOOL:${CAPSROUTE_X86_64}>:CAPSROUTE_X86_64>)
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/csrc")
    set(flags -fno-math-errno -fno-trapping-math -Wall -Wextra ${sanitize_flags})
    if(CAPSROUTE_WERROR)
        list(APPEND flags -Werror)
    endif()
    list(JOIN flags "," flags_of_host_compiler)
    target_compile_options(${target} PRIVATE
        "$<$<COMPILE_LANGUAGE:CXX>:${flags}>"
        "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${flags_of_host_compiler}>")
    target_link_options(${target} PRIVATE ${sanitize_flags})
endfunction()
