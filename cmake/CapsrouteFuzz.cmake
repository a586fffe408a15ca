# The libFuzzer target alone, for Clang: scripts/fuzz-core builds and runs it. All objects are instrumented, on the one
# instruction set that every processor has.

set(fuzz_flags -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all)

function(capsroute_add_fuzz_target name)
    add_executable(${name} ${ARGN})
    capsroute_flags(${name})
    target_compile_options(${name} PRIVATE ${fuzz_flags} -fsanitize=fuzzer)
    target_compile_definitions(${name} PRIVATE CAPSROUTE_ISA=baseline)
    target_link_options(${name} PRIVATE ${fuzz_flags} -fsanitize=fuzzer)
endfunction()
