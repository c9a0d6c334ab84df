# SPDX-License-Identifier: Apache-2.0
# Run at build time: writes OUTPUT with VERSION and the commit, and touches it only when they have changed.
cmake_minimum_required(VERSION 3.20)
set(commit)
if(EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10 OUTPUT_VARIABLE commit ERROR_QUIET
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
set(text "/* Written by cmake/version.cmake. */
#define TESSERA_VERSION \"${VERSION}\"
#define TESSERA_COMMIT \"${commit}\"
")
set(before)
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
