# cmake -DFUZZER=program -DSECONDS=n -DWORK=directory -P Fuzz.cmake: fuzzes from a fresh corpus of the program's own
# seeds for n seconds; fails on any finding, and where nothing was learnt.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
execute_process(
  COMMAND ${FUZZER} -max_total_time=${SECONDS} -max_len=4096 -timeout=5 -seed=1 -print_final_stats=1 -verbosity=0
          -artifact_prefix=${WORK}/ ${WORK}
  RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
string(REGEX MATCHALL "stat::[^\n]*" stats "${out}")
foreach(line ${stats})
  message(STATUS "${line}")
endforeach()
if(NOT code EQUAL 0)
  message(FATAL_ERROR "the fuzzer found something (${code}); the input lies in ${WORK}\n${out}")
endif()
if(NOT out MATCHES "stat::number_of_executed_units: [0-9][0-9][0-9]+")
  message(FATAL_ERROR "hardly anything was tried\n${out}")
endif()
