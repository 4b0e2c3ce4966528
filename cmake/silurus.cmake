# What every target of Silurus shares.
add_library(silurus_options INTERFACE)
target_compile_options(silurus_options INTERFACE
  -ffp-contract=off  # distances must come out the same in every kernel and compiler
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wformat=2
  # g++ 12 warns of std::string's own operator+ (GCC bug 105651)
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<BOOL:${SILURUS_WERROR}>:-Werror>)
if(SILURUS_SANITIZE)
  target_compile_options(silurus_options INTERFACE
    -fsanitize=${SILURUS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(silurus_options INTERFACE -fsanitize=${SILURUS_SANITIZE})
endif()

# silurus_library(NAME SOURCES file... [PUBLIC lib...] [PRIVATE lib...]): the static library
# silurus_NAME of the folder NAME, known to outside projects as silurus::NAME.
function(silurus_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(silurus_${name} STATIC ${ARG_SOURCES})
  add_library(silurus::${name} ALIAS silurus_${name})
  set_target_properties(silurus_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(silurus_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/silurus>)
  target_compile_features(silurus_${name} PUBLIC cxx_std_20)
  target_link_libraries(silurus_${name} PUBLIC ${ARG_PUBLIC}
    PRIVATE ${ARG_PRIVATE} $<BUILD_INTERFACE:silurus_options>)
endfunction()
