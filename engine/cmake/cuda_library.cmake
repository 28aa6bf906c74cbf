# Where the CUDA toolkit and NVIDIA's libraries lie, for zeroth_cuda.cmake and the find modules beside this file:
# the toolkit's folder, packages of the distribution (CMake's own search), pip wheels, conda. NAME_ROOT (CUDNN_ROOT,
# CUBLASLT_ROOT, NCCL_ROOT) names another folder.

include(FindPackageHandleStandardArgs)

# A wheel has a folder of its own below site-packages/nvidia; those of CUDA 13 share one, cu13.
set(ZEROTH_CUDA_PREFIXES "")
foreach(prefix "$ENV{VIRTUAL_ENV}" "$ENV{CONDA_PREFIX}" "$ENV{HOME}/.local" ${CMAKE_SYSTEM_PREFIX_PATH})
  if(prefix)
    file(GLOB wheels "${prefix}/lib/python3*/site-packages/nvidia/*" "${prefix}/lib/python3*/dist-packages/nvidia/*")
    list(APPEND ZEROTH_CUDA_PREFIXES "${prefix}/cuda" ${wheels})
  endif()
endforeach()
if(NOT "$ENV{CONDA_PREFIX}" STREQUAL "")
  list(PREPEND ZEROTH_CUDA_PREFIXES "$ENV{CONDA_PREFIX}")
endif()

# zeroth_find_cuda_library(NAME file header version_header prefix): sets NAME_LIBRARY, NAME_INCLUDE_DIR,
# NAME_VERSION and NAME_FOUND, and makes NAME::headers. Sources compile against the headers; the program opens the
# library itself (kernels/core/shared_library.h). `prefix` begins the macros of the version's numbers. Wheels have no
# development link, hence the whole file name; headers are first looked for beside the library.
macro(zeroth_find_cuda_library name file header version_header prefix)
  find_library(${name}_LIBRARY NAMES ${file} HINTS ${ZEROTH_CUDA_TOOLKIT} ${ZEROTH_CUDA_PREFIXES}
               PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib targets/sbsa-linux/lib)
  get_filename_component(folder "${${name}_LIBRARY}" DIRECTORY)
  find_path(${name}_INCLUDE_DIR NAMES ${header}
            HINTS ${folder}/../include ${folder}/../../include ${ZEROTH_CUDA_TOOLKIT} ${ZEROTH_CUDA_PREFIXES}
            PATH_SUFFIXES include targets/x86_64-linux/include targets/sbsa-linux/include)
  mark_as_advanced(${name}_LIBRARY ${name}_INCLUDE_DIR)
  if(EXISTS "${${name}_INCLUDE_DIR}/${version_header}")
    file(STRINGS "${${name}_INCLUDE_DIR}/${version_header}" lines REGEX "#define ${prefix}(MAJOR|MINOR|PATCH)")
    if("${lines}" MATCHES "MAJOR +([0-9]+).*MINOR +([0-9]+).*PATCH[A-Z]* +([0-9]+)")
      set(${name}_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
    endif()
  endif()
  find_package_handle_standard_args(${name} REQUIRED_VARS ${name}_LIBRARY ${name}_INCLUDE_DIR
                                    VERSION_VAR ${name}_VERSION)
  if(${name}_FOUND AND NOT CMAKE_SCRIPT_MODE_FILE AND NOT TARGET ${name}::headers)
    add_library(${name}::headers INTERFACE IMPORTED)
    set_target_properties(${name}::headers PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}")
  endif()
endmacro()
