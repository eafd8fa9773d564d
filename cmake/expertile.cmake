# One library per layer folder and one test binary per library, so that an upward call fails to link.

# expertile_library(NAME SOURCES a.cc b.cc [DEPS lib ...]): the layer `NAME` as target expertile_NAME.
function(expertile_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(expertile_${name} STATIC ${arg_SOURCES})
  target_link_libraries(expertile_${name} PUBLIC expertile_flags ${arg_DEPS})
endfunction()

# Of a test. Under a sanitizer tests run side by side, each on two processors.
set(EXPERTILE_TEST_PROPERTIES TIMEOUT 600)
if(EXPERTILE_SANITIZE)
  set(EXPERTILE_TEST_PROPERTIES TIMEOUT 3600 PROCESSORS 2 PROCESSOR_AFFINITY ON)
endif()

# expertile_test(NAME SOURCES a_test.cc [DEPS lib ...] [LABELS l ...]): one GoogleTest binary, one ctest case; under
# a sanitizer, where they are slow, eight cases with an eighth of the tests each if it is labelled e2e. One labelled
# device, all of whose tests skip themselves without the device, is skipped to ctest, too.
function(expertile_test name)
  if(NOT EXPERTILE_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE expertile_flags ${arg_DEPS} GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE EXPERTILE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(properties ${EXPERTILE_TEST_PROPERTIES})
  if("device" IN_LIST arg_LABELS)
    list(APPEND properties SKIP_REGULAR_EXPRESSION "PASSED  . 0 tests[^F]*SKIPPED")
  endif()
  if(NOT EXPERTILE_SANITIZE OR NOT "e2e" IN_LIST arg_LABELS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" ${properties})
    return()
  endif()
  foreach(eighth RANGE 7)
    add_test(NAME ${name}.${eighth} COMMAND ${name})
    set_tests_properties(${name}.${eighth} PROPERTIES LABELS "${arg_LABELS}" ${properties}
                         ENVIRONMENT "GTEST_TOTAL_SHARDS=8;GTEST_SHARD_INDEX=${eighth}")
  endforeach()
endfunction()

# expertile_fuzzer(NAME source.cc [DEPS lib ...] [DEFINES d ...]): with EXPERTILE_FUZZ (clang) a libFuzzer binary; otherwise a
# replay binary that runs the same entry point over the seed corpus fuzz/corpus/NAME, as an ordinary test.
function(expertile_fuzzer name source)
  cmake_parse_arguments(arg "" "" "DEPS;DEFINES" ${ARGN})
  if(EXPERTILE_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  elseif(EXPERTILE_BUILD_TESTS)
    add_executable(fuzz_${name} ${source} ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz ${EXPERTILE_TEST_PROPERTIES})
  else()
    return()
  endif()
  target_link_libraries(fuzz_${name} PRIVATE expertile_flags ${arg_DEPS})
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(fuzz_${name} PRIVATE ${arg_DEFINES})
endfunction()
