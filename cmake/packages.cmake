# SPDX-License-Identifier: Apache-2.0
#
# Finds what Tessera stands on. A package becomes a target tessera::NAME, found by header and library under
# CMAKE_PREFIX_PATH first, then where pkg-config says (if there is one), then in the system; so Spack, environment modules
# and a private prefix work without more. Whatever is missing is reported at once, with the lines that install it, from
# packages.tsv. Also installed: the CMake package finds the same things again for those who link the static library.

set(TESSERA_PACKAGES_TSV "${CMAKE_CURRENT_LIST_DIR}/packages.tsv")
set_property(GLOBAL PROPERTY TESSERA_MISSING "")
find_package(PkgConfig QUIET)

# Notes that the package of a row of packages.tsv is missing; `why` if more is to say than that.
function(tessera_missing row why)
  set_property(GLOBAL APPEND PROPERTY TESSERA_MISSING "${row}")
  if(why)
    set_property(GLOBAL APPEND PROPERTY TESSERA_MISSING_WHY "${why}")
  endif()
endfunction()

# The names of packages in a column of packages.tsv: 2 Debian, 3 Fedora, 4 Spack.
function(tessera_package_names out column)
  file(STRINGS ${TESSERA_PACKAGES_TSV} lines REGEX "^[^#]")
  set(names)
  foreach(line ${lines})
    string(REPLACE "\t" ";" cells "${line}")
    list(GET cells 0 row)
    if(row IN_LIST ARGN)
      list(GET cells ${column} cell)
      list(APPEND names "${cell}")
    endif()
  endforeach()
  string(REPLACE ";" " " names "${names}")
  set(${out} "${names}" PARENT_SCOPE)
endfunction()

# The lines that install some packages, for a message.
function(tessera_install_lines out)
  tessera_package_names(debian 2 ${ARGN})
  tessera_package_names(fedora 3 ${ARGN})
  tessera_package_names(spack 4 ${ARGN})
  set(${out}
    "    Debian, Ubuntu:  sudo apt-get install ${debian}\n"
    "    Fedora:          sudo dnf install ${fedora}\n"
    "    Spack:           spack install ${spack} && spack load ${spack}\n")
  string(CONCAT ${out} ${${out}})
  set(${out} "${${out}}" PARENT_SCOPE)
endfunction()

# Ends the configuration if something was missing.
function(tessera_report_missing)
  get_property(missing GLOBAL PROPERTY TESSERA_MISSING)
  get_property(why GLOBAL PROPERTY TESSERA_MISSING_WHY)
  if(NOT missing)
    return()
  endif()
  tessera_install_lines(lines ${missing})
  string(REPLACE ";" ", " names "${missing}")
  if(why)
    string(REPLACE ";" "\n    " why "\n    ${why}")
  endif()
  message(FATAL_ERROR "Tessera needs what was not found: ${names}${why}\nTo install:\n${lines}"
          "Where it lies under a prefix of its own, name that: -DCMAKE_PREFIX_PATH=\"PREFIX;PREFIX\"\n")
endfunction()

# tessera_find(NAME HEADER h LIBRARIES l… [PKGCONFIG p…] [SUFFIXES s…] [HINTS dir…]): makes tessera::NAME, and sets
# TESSERA_HAVE_NAME. SUFFIXES are folders under an include directory.
function(tessera_find name)
  cmake_parse_arguments(arg "" "HEADER" "LIBRARIES;PKGCONFIG;SUFFIXES;HINTS" ${ARGN})
  string(TOUPPER ${name} upper)
  set(include_hints)
  set(library_hints)
  if(PKG_CONFIG_FOUND AND arg_PKGCONFIG)
    foreach(module ${arg_PKGCONFIG})
      pkg_check_modules(TESSERA_PC_${module} QUIET ${module})
      list(APPEND include_hints ${TESSERA_PC_${module}_INCLUDEDIR} ${TESSERA_PC_${module}_INCLUDE_DIRS})
      list(APPEND library_hints ${TESSERA_PC_${module}_LIBDIR} ${TESSERA_PC_${module}_LIBRARY_DIRS})
    endforeach()
  endif()
  if(arg_HEADER)
    find_path(TESSERA_${upper}_INCLUDE_DIR NAMES ${arg_HEADER} HINTS ${include_hints} ${arg_HINTS} PATH_SUFFIXES ${arg_SUFFIXES})
    mark_as_advanced(TESSERA_${upper}_INCLUDE_DIR)
  endif()
  find_library(TESSERA_${upper}_LIBRARY NAMES ${arg_LIBRARIES} NAMES_PER_DIR HINTS ${library_hints} ${arg_HINTS})
  mark_as_advanced(TESSERA_${upper}_LIBRARY)
  set(found FALSE)
  if(TESSERA_${upper}_LIBRARY AND (NOT arg_HEADER OR TESSERA_${upper}_INCLUDE_DIR))
    set(found TRUE)
    if(NOT TARGET tessera::${name})
      add_library(tessera::${name} INTERFACE IMPORTED)
      target_link_libraries(tessera::${name} INTERFACE ${TESSERA_${upper}_LIBRARY})
      if(arg_HEADER)
        target_include_directories(tessera::${name} INTERFACE ${TESSERA_${upper}_INCLUDE_DIR})
      endif()
    endif()
  endif()
  set(TESSERA_HAVE_${upper} ${found} PARENT_SCOPE)
endfunction()

# ---- MPI, any that speaks 3.1; its name picks among the flavours of HDF5 and ScaLAPACK that Debian and Fedora build

find_package(OpenMP COMPONENTS C)
find_package(Threads)
if(NOT OpenMP_C_FOUND OR NOT Threads_FOUND)
  tessera_missing(compiler "the C compiler has no OpenMP (-fopenmp), or no threads")
endif()
find_package(MPI COMPONENTS C)
if(NOT MPI_C_FOUND)
  tessera_missing(MPI "MPI: no mpicc in PATH; with environment modules, load one first (Fedora: module load mpi)")
elseif(MPI_C_VERSION VERSION_LESS 3.1)
  tessera_missing(MPI "MPI: found version ${MPI_C_VERSION}, 3.1 is the oldest that will do")
endif()
if("${MPI_C_INCLUDE_DIRS} ${MPI_C_LIBRARIES}" MATCHES "mpich")
  set(flavours mpich openmpi)
else()
  set(flavours openmpi mpich)
endif()
list(GET flavours 0 flavour)
set(mpi_hints ${MPI_C_INCLUDE_DIRS})
foreach(library ${MPI_C_LIBRARIES})
  get_filename_component(library ${library} DIRECTORY)
  list(APPEND mpi_hints ${library})
endforeach()

# ---- libraries

tessera_find(yaml HEADER yaml.h LIBRARIES yaml PKGCONFIG yaml-0.1)
tessera_find(jansson HEADER jansson.h LIBRARIES jansson PKGCONFIG jansson)
tessera_find(pcre2 HEADER pcre2.h LIBRARIES pcre2-8 PKGCONFIG libpcre2-8)
tessera_find(utf8proc HEADER utf8proc.h LIBRARIES utf8proc PKGCONFIG libutf8proc)
tessera_find(zlib HEADER zlib.h LIBRARIES z PKGCONFIG zlib)
tessera_find(protobufc HEADER protobuf-c/protobuf-c.h LIBRARIES protobuf-c PKGCONFIG libprotobuf-c)
tessera_find(openblas HEADER openblas_config.h LIBRARIES openblas openblasp PKGCONFIG openblas
             SUFFIXES openblas openblas-pthread openblas-openmp)

find_program(TESSERA_H5PCC NAMES h5pcc.${flavour} h5pcc)
mark_as_advanced(TESSERA_H5PCC)
set(h5pcc_hints)
if(TESSERA_H5PCC)
  execute_process(COMMAND ${TESSERA_H5PCC} -show OUTPUT_VARIABLE shown ERROR_QUIET)
  string(REGEX MATCHALL "-[IL][^ \n]+" shown "${shown}")
  foreach(flag ${shown})
    string(SUBSTRING ${flag} 2 -1 flag)
    list(APPEND h5pcc_hints ${flag})
  endforeach()
endif()
list(TRANSFORM flavours PREPEND hdf5- OUTPUT_VARIABLE hdf5_modules)
list(TRANSFORM flavours PREPEND hdf5/ OUTPUT_VARIABLE hdf5_folders)
tessera_find(hdf5 HEADER hdf5.h LIBRARIES hdf5_${flavour} hdf5 PKGCONFIG ${hdf5_modules} hdf5-mpi hdf5
             SUFFIXES ${hdf5_folders} HINTS ${mpi_hints} ${h5pcc_hints})
tessera_find(scalapack LIBRARIES scalapack-${flavour} scalapack PKGCONFIG scalapack-${flavour} scalapack HINTS ${mpi_hints})
tessera_find(onednn HEADER dnnl.h LIBRARIES dnnl PKGCONFIG dnnl)

foreach(pair yaml=libyaml jansson=jansson pcre2=PCRE2 utf8proc=utf8proc zlib=zlib protobufc=protobuf-c openblas=OpenBLAS hdf5=HDF5 scalapack=ScaLAPACK)
  string(REGEX MATCH "(.*)=(.*)" pair ${pair})
  string(TOUPPER ${CMAKE_MATCH_1} upper)
  if(NOT TESSERA_HAVE_${upper})
    tessera_missing(${CMAKE_MATCH_2} "")
  endif()
endforeach()

# ---- what was found must also fit

include(CheckCSourceCompiles)
if(MPI_C_FOUND AND TESSERA_HAVE_HDF5)
  set(CMAKE_REQUIRED_QUIET ON)
  set(CMAKE_REQUIRED_LIBRARIES tessera::hdf5 MPI::MPI_C)
  check_c_source_compiles("#include <hdf5.h>
    #if !H5_VERSION_GE(1, 10, 0)
    #error too old
    #endif
    int main(void) { return 0; }" TESSERA_HDF5_IS_1_10)
  check_c_source_compiles("#include <hdf5.h>
    int main(void) { return H5Pset_fapl_mpio(H5P_DEFAULT, MPI_COMM_WORLD, MPI_INFO_NULL) < 0; }" TESSERA_HDF5_IS_PARALLEL)
  if(NOT TESSERA_HDF5_IS_1_10)
    tessera_missing(HDF5 "HDF5: ${TESSERA_HDF5_LIBRARY} is older than 1.10")
  elseif(NOT TESSERA_HDF5_IS_PARALLEL)
    tessera_missing(HDF5 "HDF5: ${TESSERA_HDF5_LIBRARY} is not parallel, or was built with another MPI than ${MPI_C_COMPILER}")
  endif()
  unset(CMAKE_REQUIRED_LIBRARIES)
  unset(CMAKE_REQUIRED_QUIET)
endif()
