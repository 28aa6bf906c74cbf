include(GNUInstallDirs)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()

option(ZEROTH_BUILD_TESTS "Build the tests (needs Catch2)" ON)
set(ZEROTH_CUDA AUTO CACHE STRING "AUTO: with CUDA where it is found; ON: or fail; OFF: without")
set(ZEROTH_MARCH native CACHE STRING "What -march gets for host code; empty: the compiler's own default")
set(ZEROTH_SANITIZE "" CACHE STRING "empty, address (with undefined) or thread")

set_property(CACHE ZEROTH_CUDA PROPERTY STRINGS AUTO ON OFF)
set_property(CACHE ZEROTH_SANITIZE PROPERTY STRINGS "" address thread)

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

include(zeroth_cuda)

# What every target of this project is compiled with; installed targets do not pass it on.
# g++ 12 sees overlapping copies where strings are joined (its bug 105651).
set(zeroth_false_warnings "")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(zeroth_false_warnings -Wno-restrict)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # A capture that only one branch of an `if constexpr` uses.
  set(zeroth_false_warnings -Wno-unused-lambda-capture)
endif()
add_library(zeroth_compile_options INTERFACE)
target_compile_options(zeroth_compile_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Werror ${zeroth_false_warnings}>
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings -Xptxas --warn-on-spills -Xcompiler -Wall,-Wextra>"
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${ZEROTH_MARCH}>>:-march=${ZEROTH_MARCH}>)
target_include_directories(zeroth_compile_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)

if(ZEROTH_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(ZEROTH_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(NOT ZEROTH_SANITIZE STREQUAL "")
  message(FATAL_ERROR "ZEROTH_SANITIZE is '${ZEROTH_SANITIZE}': expected address, thread or nothing")
endif()
