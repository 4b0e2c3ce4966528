# SPDX-License-Identifier: Apache-2.0

# libsilurus.so: the client side as one shared library, of the objects that the modules' static libraries are made of.
# Programs of this tree link the static libraries; what is installed is this one, as silurus::client.
set(modules common keys etcd rtree geometry local transport protocol client shards)
list(TRANSFORM modules REPLACE "(.+)" "$<TARGET_OBJECTS:silurus_\\1>" OUTPUT_VARIABLE objects)
add_library(silurus_shared SHARED ${objects})
set_target_properties(silurus_shared PROPERTIES
  OUTPUT_NAME silurus EXPORT_NAME client LINKER_LANGUAGE CXX
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
  SOVERSION 1 VERSION 1.${PROJECT_VERSION_MINOR}.${PROJECT_VERSION_PATCH}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/libsilurus.map)
target_compile_features(silurus_shared INTERFACE cxx_std_20)
target_include_directories(silurus_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(silurus_shared
  INTERFACE tl::expected
  PRIVATE spdlog::spdlog CURL::libcurl PkgConfig::XXHASH PkgConfig::HWY PkgConfig::RDMA PkgConfig::SODIUM Threads::Threads)
target_link_options(silurus_shared PRIVATE -Wl,-z,defs
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/libsilurus.map)
