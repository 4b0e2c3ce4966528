# SPDX-License-Identifier: Apache-2.0

# What `cmake --install` puts where. debian/ builds its packages of the same.
include(CMakePackageConfigHelpers)

# Programs, and beside them what they start.
set(programs silurus-server)
if(SILURUS_TOOL)
  list(APPEND programs silurus)
endif()
if(SILURUS_BENCH)
  list(APPEND programs silurus-bench silurus-compare)
  # bench/plan.h looks for them there
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/bench/models DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/silurus)
endif()
if(TARGET silurus-gate)
  list(APPEND programs silurus-gate)
endif()
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# datasets/helper.h looks for them there
set(readers silurus-read-netcdf silurus-read-gzip)
foreach(reader silurus-read-gdal silurus-read-hdf5 silurus-read-fits)
  if(TARGET ${reader})
    list(APPEND readers ${reader})
  endif()
endforeach()
install(TARGETS ${readers} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/silurus)

# The client library, which a sanitized build does not make: its users would have to be sanitized, too.
if(SILURUS_SANITIZE)
  return()
endif()
include(cmake/libsilurus.cmake)
install(TARGETS silurus_shared EXPORT silurus LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

# Its headers.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/silurus DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)

# find_package(silurus), target silurus::client.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/silurus)
install(EXPORT silurus NAMESPACE silurus:: DESTINATION ${package_dir})
configure_package_config_file(cmake/silurusConfig.cmake.in silurusConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(silurusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/silurusConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/silurusConfigVersion.cmake DESTINATION ${package_dir})

# pkg-config silurus. Finds the folders from where it lies itself, so that the prefix can be moved.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pkgconfig_to_prefix ${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pkgconfig_to_prefix "${pkgconfig_to_prefix}")
configure_file(cmake/silurus.pc.in silurus.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/silurus.pc DESTINATION ${pkgconfig_dir})
