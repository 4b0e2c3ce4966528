# The client library as a CMake package: find_package(silurus), target silurus::client.
include(CMakePackageConfigHelpers)

set(modules common etcd rtree transport protocol client)
foreach(module ${modules})
  install(TARGETS silurus_${module} EXPORT silurus ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${module}
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/silurus FILES_MATCHING PATTERN "*.h"
    PATTERN "tool" EXCLUDE PATTERN "common/flags.h" EXCLUDE)
endforeach()
# Many servers as one: client/shards.
install(TARGETS silurus_shards EXPORT silurus ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(programs silurus-server silurus)
if(SILURUS_BENCH)
  list(APPEND programs silurus-bench)
endif()
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# datasets/helper.h looks for it there
install(TARGETS silurus-read-gshhg RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/silurus)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/silurus)
install(EXPORT silurus NAMESPACE silurus:: DESTINATION ${package_dir})
configure_package_config_file(cmake/silurusConfig.cmake.in silurusConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(silurusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/silurusConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/silurusConfigVersion.cmake DESTINATION ${package_dir})
