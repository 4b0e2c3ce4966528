# SPDX-License-Identifier: Apache-2.0

# What every target of Silurus shares.
add_library(silurus_options INTERFACE)
target_compile_options(silurus_options INTERFACE
  -ffp-contract=off  # distances must come out the same in every kernel and compiler
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wformat=2
  # g++ 12 warns of std::string's own code (GCC bugs 105651, 105329): to the optimiser, a precompiled header is no system header
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict$<SEMICOLON>-Wno-stringop-overflow$<SEMICOLON>-Wno-array-bounds>
  $<$<CXX_COMPILER_ID:Clang>:-Wno-unknown-warning-option>  # "-Wtsan" is g++'s
  $<$<BOOL:${SILURUS_WERROR}>:-Werror>)
if(SILURUS_HARDENED AND NOT SILURUS_SANITIZE)
  # A fault of memory ends the process where it happens, and is harder to use.
  target_compile_options(silurus_options INTERFACE -fstack-protector-strong -fstack-clash-protection
    $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-fcf-protection>)
  target_compile_definitions(silurus_options INTERFACE _GLIBCXX_ASSERTIONS)
  # distributions set a level of their own
  target_compile_options(silurus_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE$<SEMICOLON>-D_FORTIFY_SOURCE=3>)
  target_link_options(silurus_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(SILURUS_SANITIZE)
  target_compile_options(silurus_options INTERFACE
    -fsanitize=${SILURUS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    # these take as long to compile as all the rest; the fuzz targets, by clang, have them
    -fno-sanitize=null,vptr $<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=alignment,object-size,pointer-overflow>)
  target_link_options(silurus_options INTERFACE -fsanitize=${SILURUS_SANITIZE})
endif()

# What most units include, compiled once for all libraries, and once for all test programs (which are less optimised).
# Everything that takes one of them is compiled with the same options, -fPIC among them: programs, too.
add_library(silurus_precompiled OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cc)
target_compile_features(silurus_precompiled PUBLIC cxx_std_20)
target_link_libraries(silurus_precompiled PRIVATE silurus_options)
target_precompile_headers(silurus_precompiled PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
# ccache would take precompiled headers of which only the lines' numbers are others; gcc then finds each header twice.
set_target_properties(silurus_precompiled PROPERTIES CXX_COMPILER_LAUNCHER "")

# silurus_library(NAME SOURCES file... [PUBLIC lib...] [PRIVATE lib...]): the static library
# silurus_NAME of the folder NAME, known to outside projects as silurus::NAME.
function(silurus_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(silurus_${name} STATIC ${ARG_SOURCES})
  add_library(silurus::${name} ALIAS silurus_${name})
  set_target_properties(silurus_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(silurus_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_compile_features(silurus_${name} PUBLIC cxx_std_20)
  target_precompile_headers(silurus_${name} REUSE_FROM silurus_precompiled)
  target_link_libraries(silurus_${name} PUBLIC ${ARG_PUBLIC}
    PRIVATE ${ARG_PRIVATE} $<BUILD_INTERFACE:silurus_options>)
endfunction()

# Options for code that runs once, for a person: it compiles in two thirds of the time.
set(silurus_quick_to_build $<$<CONFIG:RelWithDebInfo>:-O1>)
