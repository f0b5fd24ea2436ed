# attest_add_suite(NAME name SUITE suite BACKENDS backend... [SHARDS n] [LABELS label...] [TIMEOUT seconds] [JOBS n]
#                  [GGML dir...] [LEDGER file] [ARGS word...])
#
# Makes every shard of a suite on every backend a test of ctest: `name.backend`, or `name.backend.IofN` with shards.
#   SUITE    a built-in suite (attest list suites), a .toml file, or a .txt file with one case per line
#   LABELS   of the tests; default: attest
#   TIMEOUT  seconds a test may take; default 1500
#   JOBS     cores a test uses; default: all of them
#   GGML     directories of ggml builds, DIR or NAME=DIR; default: what attest itself finds
#   LEDGER   TOML file of known failures
#   ARGS     further words for `attest run`
#
# Files given by a relative name lie in the current source directory. Each test leaves a JUnit report and a JSONL record
# in attest/ of the current binary directory; the records of all shards make one run again: attest merge.
#
# A backend that is not available on the machine that runs the test makes it "Skipped", not passed, and so does a shard
# without cases or without one that the backend supports. No case at all, no such suite or no such backend fails.
function(attest_add_suite)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;SUITE;SHARDS;TIMEOUT;JOBS;LEDGER" "BACKENDS;LABELS;GGML;ARGS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "attest_add_suite: unknown argument '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  foreach(needed NAME SUITE BACKENDS)
    if(NOT arg_${needed})
      message(FATAL_ERROR "attest_add_suite: ${needed} is missing")
    endif()
  endforeach()
  foreach(number SHARDS TIMEOUT JOBS)
    if(DEFINED arg_${number} AND NOT arg_${number} MATCHES "^[1-9][0-9]*$")
      message(FATAL_ERROR "attest_add_suite: ${number} '${arg_${number}}' is not a number from 1 on")
    endif()
  endforeach()
  if(NOT arg_SHARDS)
    set(arg_SHARDS 1)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 1500)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS attest)
  endif()

  set(options --skip-unavailable)
  if(arg_SUITE MATCHES "\\.(toml|txt)$")
    attest_absolute_file(arg_SUITE SUITE)
  endif()
  if(arg_SUITE MATCHES "\\.txt$")
    list(APPEND options --cases ${arg_SUITE})
  else()
    list(APPEND options --suite ${arg_SUITE})
  endif()
  if(arg_LEDGER)
    attest_absolute_file(arg_LEDGER LEDGER)
    list(APPEND options --ledger ${arg_LEDGER})
  endif()
  foreach(build IN LISTS arg_GGML)
    if(build MATCHES "^([^/=]+)=(.+)$")
      get_filename_component(dir "${CMAKE_MATCH_2}" ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
      list(APPEND options --ggml "${CMAKE_MATCH_1}=${dir}")
    else()
      get_filename_component(dir "${build}" ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
      list(APPEND options --ggml ${dir})
    endif()
  endforeach()
  if(arg_JOBS)
    set(cores ${arg_JOBS})
    list(APPEND options --jobs ${arg_JOBS})
  else()
    cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
  endif()

  set(output ${CMAKE_CURRENT_BINARY_DIR}/attest)
  file(MAKE_DIRECTORY ${output})
  math(EXPR last "${arg_SHARDS} - 1")
  foreach(backend IN LISTS arg_BACKENDS)
    foreach(shard RANGE ${last})
      set(test ${arg_NAME}.${backend})
      if(arg_SHARDS GREATER 1)
        string(APPEND test .${shard}of${arg_SHARDS})
      endif()
      string(REGEX REPLACE "[^A-Za-z0-9._-]" "_" file ${test})
      add_test(NAME ${test} WORKING_DIRECTORY ${output}
        COMMAND $<TARGET_FILE:attest::attest> run ${options} --backend ${backend} --shard ${shard}/${arg_SHARDS}
          --junit ${output}/${file}.xml --jsonl ${output}/${file}.jsonl ${arg_ARGS})
      set_tests_properties(${test} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} PROCESSORS ${cores}
        SKIP_RETURN_CODE 77
        SKIP_REGULAR_EXPRESSION "of this selection is empty;took none of the [0-9]+ cases of shard")
    endforeach()
  endforeach()
endfunction()

# Makes a file's name absolute; it must exist.
function(attest_absolute_file variable keyword)
  get_filename_component(file "${${variable}}" ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "attest_add_suite: ${keyword} '${file}' does not exist")
  endif()
  set(${variable} ${file} PARENT_SCOPE)
endfunction()
