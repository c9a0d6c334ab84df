# SPDX-License-Identifier: Apache-2.0
#
# cmake --install: the program, both libraries, the headers of the floors below the program, a pkg-config file, and a
# CMake package: find_package(Tessera) gives tessera::tessera, the shared library; find_package(Tessera COMPONENTS static)
# gives tessera::static as well, and then finds MPI, HDF5 and the others again.

include(CMakePackageConfigHelpers)

# Headers a user may include: those of the floors, but not what is internal, needs a library's own header, or includes
# such a one. tessera.h includes them all.
file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/*/*.h ${PROJECT_SOURCE_DIR}/src/task/*/*.h)
list(FILTER headers EXCLUDE REGEX "^cli/|_internal\\.h$|^comm/(call|reduce)\\.h$")
set(internal "<(mpi|hdf5|yaml|jansson|cblas|dnnl)|_internal\\.h")
set(before)
while(NOT "${before}" STREQUAL "${headers}")
  set(before "${headers}")
  foreach(header ${before})
    file(STRINGS src/${header} reaches REGEX "^#include.*(${internal})" LIMIT_COUNT 1)
    if(reaches)
      list(REMOVE_ITEM headers ${header})
      string(APPEND internal "|\"${header}\"")
    endif()
  endforeach()
endwhile()
set(umbrella "/* SPDX-License-Identifier: Apache-2.0\n *\n * All of Tessera's public headers. Written by cmake/install.cmake.\n */\n#pragma once\n\n")
foreach(header ${headers})
  string(APPEND umbrella "#include \"${header}\"\n")
  get_filename_component(floor ${header} DIRECTORY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/${header})
  install(FILES src/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera/${floor})
endforeach()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/tessera.h CONTENT "${umbrella}" @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/tessera.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Tessera)
set_target_properties(tessera_shared PROPERTIES EXPORT_NAME tessera)
set_target_properties(tessera PROPERTIES EXPORT_NAME static)
install(TARGETS tessera_shared EXPORT shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS tessera EXPORT static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET tessera-program)
  install(TARGETS tessera-program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT shared NAMESPACE tessera:: FILE TesseraTargets.cmake DESTINATION ${package_dir})
install(EXPORT static NAMESPACE tessera:: FILE TesseraStaticTargets.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/TesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
configure_package_config_file(cmake/TesseraConfig.cmake.in ${PROJECT_BINARY_DIR}/TesseraConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/TesseraConfig.cmake ${PROJECT_BINARY_DIR}/TesseraConfigVersion.cmake
              cmake/packages.cmake cmake/packages.tsv DESTINATION ${package_dir})

# pkg-config: the libraries that the static one needs, by their full names, are private.
set(private_libraries)
foreach(name yaml jansson pcre2 utf8proc zlib protobufc hdf5 scalapack openblas onednn)
  string(TOUPPER ${name} upper)
  if(TESSERA_HAVE_${upper})
    list(APPEND private_libraries ${TESSERA_${upper}_LIBRARY})
  endif()
endforeach()
list(APPEND private_libraries ${MPI_C_LIBRARIES} ${OpenMP_C_FLAGS} -lpthread -lm)
list(JOIN private_libraries " " private_libraries)
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/tessera.pc.in ${PROJECT_BINARY_DIR}/tessera.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tessera.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
