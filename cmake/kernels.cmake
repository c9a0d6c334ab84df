# SPDX-License-Identifier: Apache-2.0
#
# The kernels under src/tensor/kernels/variants, compiled once for each element type and instruction set; which of them
# runs is decided when the program starts (src/tensor/kernels/isa.h). Sets TESSERA_KERNEL_OBJECTS.

file(GLOB TESSERA_VARIANT_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/tensor/kernels/variants/*.c)
set(TESSERA_KERNEL_OBJECTS)

function(tessera_kernel_variant dtype isa)
  set(target kernels_${dtype}_${isa})
  add_library(${target} OBJECT ${TESSERA_VARIANT_SOURCES})
  string(TOUPPER ${dtype} upper)
  target_compile_definitions(${target} PRIVATE TS_VARIANT=${dtype}_${isa} TS_VARIANT_${upper})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE OpenMP::OpenMP_C)
  # Never a peeled loop: sums must not depend on where a buffer happens to lie.
  target_compile_options(${target} PRIVATE -O3 -fno-math-errno -fno-trapping-math ${ARGN}
    $<$<C_COMPILER_ID:GNU>:--param=vect-max-peeling-for-alignment=0>
    $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>) # a loop left scalar is no error
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  set(TESSERA_KERNEL_OBJECTS ${TESSERA_KERNEL_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

tessera_kernel_variant(f32 base)
tessera_kernel_variant(bf16 base)
tessera_kernel_variant(f64 base)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_definitions(TESSERA_X86_VARIANTS)
  foreach(dtype f32 bf16)
    tessera_kernel_variant(${dtype} v3 -march=x86-64-v3)
    tessera_kernel_variant(${dtype} v4 -march=x86-64-v4 -mprefer-vector-width=512)
  endforeach()
endif()
