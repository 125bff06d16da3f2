# The core compiled again for white-box tests: without override/, so that the tests keep the C library's malloc.
# ration_testcore: the objects and the fake platform. Include it wherever it is needed; it defines the target once, and
# the lists of sources and flags for builds of another kind.
find_package(Threads REQUIRED)
set(core_dir ${PROJECT_SOURCE_DIR}/src)
file(GLOB ration_core_sources CONFIGURE_DEPENDS
  ${core_dir}/base/*.c ${core_dir}/os/*.c ${core_dir}/conf/*.c ${core_dir}/sizeclass/*.c
  ${core_dir}/report/*.c ${core_dir}/area/*.c ${core_dir}/span/*.c ${core_dir}/slab/*.c
  ${core_dir}/cache/*.c ${core_dir}/core/*.c ${core_dir}/callers/*.c ${core_dir}/record/*.c
  ${core_dir}/inspect/*.c)
set(ration_testcore_sources ${ration_core_sources} ${CMAKE_CURRENT_LIST_DIR}/fake_os.c
  ${CMAKE_CURRENT_LIST_DIR}/heap.c ${CMAKE_CURRENT_LIST_DIR}/unit.c)
set(ration_testcore_includes ${core_dir} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/tests)
set(ration_testcore_flags -O1 -g -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc
  -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free)
if(NOT TARGET ration_testcore)
  add_library(ration_testcore STATIC ${ration_testcore_sources})
  target_include_directories(ration_testcore PUBLIC ${ration_testcore_includes})
  target_compile_options(ration_testcore PRIVATE ${ration_testcore_flags})
  target_link_libraries(ration_testcore PUBLIC PkgConfig::CMOCKA Threads::Threads
                        PRIVATE ration_warnings)
endif()
