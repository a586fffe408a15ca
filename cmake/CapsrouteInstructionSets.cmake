# The CPU kernels are compiled once for each instruction set, each as an object library of its own, and chosen when
# the module is loaded. Other processors than x86-64 get one portable build, called baseline too.

include(CheckCXXSourceCompiles)
check_cxx_source_compiles("
#ifndef __x86_64__
#error another processor
#endif
int main() { return 0; }" CAPSROUTE_X86_64)

set(CAPSROUTE_ISAS baseline)
set(isa_flags_baseline)
if(CAPSROUTE_X86_64)
    list(APPEND CAPSROUTE_ISAS avx2 avx512)
    set(isa_flags_avx2 -mavx2 -mfma)
    set(isa_flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512)
    # Some processors with AVX-512 multiply pairs of bfloat16 numbers: by one instruction, asked for when it is there.
    set(CMAKE_REQUIRED_FLAGS "-mavx512f")
    check_cxx_source_compiles("
typedef float V __attribute__((vector_size(64)));
int main() {
    float w = 0;
    V a{}, b{};
    asm(\"vdpbf16ps %2%{1to16%}, %1, %0\" : \"+v\"(a) : \"v\"(b), \"m\"(w));
    return int(a[0]);
}" CAPSROUTE_PAIRS)
    unset(CMAKE_REQUIRED_FLAGS)
    if(CAPSROUTE_PAIRS)
        list(APPEND isa_flags_avx512 -DCAPSROUTE_PAIRS)
    endif()
endif()

set(CAPSROUTE_KERNELS)
macro(capsroute_add_kernels)
    foreach(isa IN LISTS CAPSROUTE_ISAS)
        add_library(capsroute_kernels_${isa} OBJECT ${ARGN})
        capsroute_flags(capsroute_kernels_${isa})
        target_compile_definitions(capsroute_kernels_${isa} PRIVATE CAPSROUTE_ISA=${isa})
        target_compile_options(capsroute_kernels_${isa} PRIVATE ${isa_flags_${isa}})
        list(APPEND CAPSROUTE_KERNELS capsroute_kernels_${isa})
    endforeach()
endmacro()
