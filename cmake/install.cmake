# What `make install` installs, and the names under which other CMake projects find it: ration::ration (shared),
# ration::static, ration::heaps and, where it is built, ration::frame. The same names serve find_package(ration) and
# add_subdirectory. The folder `tools` installs the command.
include(CMakePackageConfigHelpers)

set_target_properties(ration PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})

# All of the archive or nothing: without a mention of malloc a program of which only libraries allocate would get it
# from the C library.
target_link_options(ration_static INTERFACE LINKER:-u,malloc)

set(ration_exported ration ration_static)
foreach(target ration_heaps ration_frame ration_frame_static)
  if(TARGET ${target})
    list(APPEND ration_exported ${target})
  endif()
endforeach()

# A user of a target gets the headers; the warnings are for this project alone.
foreach(target ${ration_exported})
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>;$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
  if(links)
    list(FILTER links EXCLUDE REGEX ration_warnings)
    set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${links}")
  endif()
  string(REPLACE ration_ "" name ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  add_library(ration::${name} ALIAS ${target})
endforeach()

if(NOT RATION_INSTALL)
  return()
endif()

set(ration_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ration)
install(TARGETS ${ration_exported} EXPORT ration-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT ration-targets NAMESPACE ration:: DESTINATION ${ration_package_dir})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/ration-config.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/ration-config.cmake INSTALL_DESTINATION ${ration_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/ration-config-version.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/ration-config.cmake
  ${PROJECT_BINARY_DIR}/cmake/ration-config-version.cmake DESTINATION ${ration_package_dir})

# pkg-config files find their prefix from where they lie, so that an installed tree can be moved.
file(RELATIVE_PATH ration_prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
foreach(name ration ration-static ration-heaps)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/cmake/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

install(FILES ${PROJECT_SOURCE_DIR}/docs/man/ration.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_SOURCE_DIR}/docs/man/ration.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
