# weft_room(NAME SOURCES ... LINK ... PRIVATE ...): one static library per room of src/. LINK names what its headers show.
function(weft_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "SOURCES;LINK;PRIVATE" ${ARGN})
  add_library(weft_${name} STATIC ${ROOM_SOURCES})
  add_library(weft::${name} ALIAS weft_${name})
  target_include_directories(weft_${name} PUBLIC "${CMAKE_SOURCE_DIR}/src")
  target_link_libraries(weft_${name} PUBLIC ${ROOM_LINK} PRIVATE ${ROOM_PRIVATE} weft::warnings)
  if(ROOM_TORCH)
    target_link_libraries(weft_${name} PUBLIC weft::torch)
    target_precompile_headers(weft_${name} REUSE_FROM weft_aten_pch)
    target_link_libraries(weft_${name} PRIVATE weft_aten_pch_flags)
  endif()
endfunction()

# weft_test_program(NAME SOURCES ... LINK ... [TORCH]): a GoogleTest program with its own way of being run.
function(weft_test_program name)
  cmake_parse_arguments(TEST "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${TEST_LINK} GTest::gtest GTest::gmock weft::warnings)
  target_compile_definitions(${name} PRIVATE WEFT_SOURCE_DIR="${CMAKE_SOURCE_DIR}" WEFT_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(TEST_TORCH)
    target_compile_options(${name} PRIVATE -fPIC)  # as the precompiled header was made; programs get -fPIE otherwise
    target_precompile_headers(${name} REUSE_FROM weft_aten_pch)
    target_link_libraries(${name} PRIVATE weft_aten_pch_flags)
  endif()
endfunction()

# What the functions below read of their arguments: TEST_SOURCES, TEST_LINK, TEST_RANKS, TEST_TORCH (the word or nothing), TEST_LABELS, TEST_TIMEOUT.
macro(weft_parse_test)
  cmake_parse_arguments(TEST "TORCH" "TIMEOUT" "SOURCES;LINK;RANKS;LABELS" ${ARGN})
  if(TEST_TORCH)
    set(TEST_TORCH TORCH)
  else()
    set(TEST_TORCH)
  endif()
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  if(NOT TEST_LABELS)
    set(TEST_LABELS unit)
  endif()
endmacro()

# weft_test(NAME SOURCES ... LINK ... [TORCH] [LABELS ...] [TIMEOUT s]): one GoogleTest program; each TEST becomes a CTest case.
function(weft_test name)
  weft_parse_test(${ARGN})
  weft_test_program(${name} ${TEST_TORCH} SOURCES ${TEST_SOURCES} LINK ${TEST_LINK} GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}" ENVIRONMENT "OMP_NUM_THREADS=1")
endfunction()

# weft_ranked_test(NAME SOURCES ... LINK ... RANKS n... [TORCH] [LABELS ...] [TIMEOUT s]): one GoogleTest program with support/ranked_main.cpp, run by mpirun once for
# each number of ranks. A build without MPI has no such test. The variables let mpirun run as root, with more ranks than cores, unpinned, and make ranks that wait
# give way; `timeout -k` because mpirun outlives a TERM when a rank is stopped.
function(weft_ranked_test name)
  if(NOT WEFT_HAVE_MPI)
    return()
  endif()
  weft_parse_test(${ARGN})
  weft_test_program(${name} ${TEST_TORCH} SOURCES ${TEST_SOURCES} LINK ${TEST_LINK})
  math(EXPR outer "${TEST_TIMEOUT} + 10")
  foreach(ranks IN LISTS TEST_RANKS)
    add_test(NAME ${name}.${ranks} COMMAND timeout -k 5 ${TEST_TIMEOUT} ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.${ranks} PROPERTIES TIMEOUT ${outer} LABELS "${TEST_LABELS}" PROCESSORS 2
      ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_hwloc_base_binding_policy=none;OMPI_MCA_mpi_yield_when_idle=1;OMP_NUM_THREADS=1")
  endforeach()
endfunction()
