# attest_room(NAME SOURCES... [DEPENDS targets...]): the static library attest::NAME of one room.
# attest_test(NAME LABEL label SOURCES... [DEPENDS targets...] [OWN_MAIN] [TIMEOUT s]): a GoogleTest executable, every
# test known to ctest.

set(ATTEST_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor)
# GCC 12 warns falsely on `const char* + std::string&&` (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND ATTEST_WARNINGS -Wno-restrict -Wno-stringop-overflow)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND ATTEST_WARNINGS -Wno-unused-const-variable)  # a fault's switch that its kernel does not ask for
endif()
if(ATTEST_WERROR)
  list(APPEND ATTEST_WARNINGS -Werror)
endif()

function(attest_compile_options target)
  target_compile_options(${target} PRIVATE ${ATTEST_WARNINGS})
  # Values are a pure function of the descriptor on every machine: no contraction unless code asks for it.
  target_compile_options(${target} PRIVATE -ffp-contract=off)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
endfunction()

# For code whose own speed does not matter, tests and the command line: half the time to build.
function(attest_compile_fast target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O0>)
endfunction()

# Headers that most sources include are parsed once for each of three sets of options: attest_precompiled for the rooms,
# attest_precompiled_tests, attest_precompiled_cli. A missing #include goes unnoticed then; preset dev does without.
function(attest_precompile name)
  cmake_parse_arguments(PCH "FAST" "" "HEADERS;LIBRARIES" ${ARGN})
  set(source ${PROJECT_BINARY_DIR}/generated/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(${name} OBJECT ${source})
  attest_compile_options(${name})
  if(PCH_FAST)
    attest_compile_fast(${name})
  endif()
  target_link_libraries(${name} PRIVATE tl::expected fmt::fmt ${PCH_LIBRARIES})
  target_precompile_headers(${name} PRIVATE
    <algorithm> <array> <cmath> <cstring> <filesystem> <fstream> <functional> <map> <memory> <optional> <set> <span>
    <string> <vector> <fmt/format.h> <tl/expected.hpp> ${PCH_HEADERS})
endfunction()
attest_precompile(attest_precompiled)
attest_precompile(attest_precompiled_cli FAST HEADERS <CLI/CLI.hpp> LIBRARIES CLI11::CLI11)
if(ATTEST_TESTS)
  attest_precompile(attest_precompiled_tests FAST HEADERS <gmock/gmock.h> <gtest/gtest.h>
    LIBRARIES GTest::gmock GTest::gtest)
endif()

function(attest_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(attest_${name} STATIC ${ROOM_SOURCES})
  add_library(attest::${name} ALIAS attest_${name})
  attest_compile_options(attest_${name})
  target_precompile_headers(attest_${name} REUSE_FROM attest_precompiled)
  target_link_libraries(attest_${name} PUBLIC tl::expected ${ROOM_DEPENDS} PRIVATE ${ROOM_PRIVATE_DEPENDS})
endfunction()

# attest_embed(FUNCTION f OUTPUT variable FILES files...): a generated source that carries the files' texts; FUNCTION is
# declared in cases/embedded_files.h.
function(attest_embed)
  cmake_parse_arguments(EMBED "" "FUNCTION;OUTPUT" "FILES" ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${EMBED_FUNCTION}.cpp)
  set(script ${PROJECT_SOURCE_DIR}/ci/cmake/EmbedFiles.cmake)
  list(TRANSFORM EMBED_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  list(JOIN EMBED_FILES "|" files)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DOUT=${source} -DFUNCTION=${EMBED_FUNCTION} "-DFILES=${files}" -P ${script}
    DEPENDS ${EMBED_FILES} ${script}
    COMMENT "Embedding ${EMBED_FUNCTION}"
    VERBATIM)
  set(${EMBED_OUTPUT} ${source} PARENT_SCOPE)
endfunction()

function(attest_test name)
  if(NOT ATTEST_TESTS)
    return()
  endif()
  cmake_parse_arguments(TEST "OWN_MAIN" "LABEL;TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  attest_compile_options(${name})
  attest_compile_fast(${name})
  target_precompile_headers(${name} REUSE_FROM attest_precompiled_tests)
  if(TEST_OWN_MAIN)
    target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} fmt::fmt GTest::gmock GTest::gtest)
  else()
    target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} fmt::fmt GTest::gmock GTest::gtest_main)
  endif()
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
    PROPERTIES LABELS ${TEST_LABEL} TIMEOUT ${TEST_TIMEOUT} SKIP_RETURN_CODE 77
      ENVIRONMENT "RC_PARAMS=seed=1")  # RapidCheck draws a fresh seed otherwise
endfunction()
