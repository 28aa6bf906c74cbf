# Finds oneDNN: DNNL::dnnl, DNNL_FOUND, DNNL_VERSION. Debian's own package file asks for OpenCL headers that
# neither oneDNN's CPU part nor its development package needs; hence this search.

find_path(DNNL_INCLUDE_DIR NAMES oneapi/dnnl/dnnl.hpp dnnl.hpp)
find_library(DNNL_LIBRARY NAMES dnnl)
mark_as_advanced(DNNL_INCLUDE_DIR DNNL_LIBRARY)

foreach(header oneapi/dnnl/dnnl_version.h dnnl_version.h)
  if(NOT DNNL_VERSION AND EXISTS "${DNNL_INCLUDE_DIR}/${header}")
    file(READ "${DNNL_INCLUDE_DIR}/${header}" text)
    string(REGEX REPLACE ".*DNNL_VERSION_MAJOR ([0-9]+).*DNNL_VERSION_MINOR ([0-9]+).*DNNL_VERSION_PATCH ([0-9]+).*"
           "\\1.\\2.\\3" version "${text}")
    if(version MATCHES "^[0-9.]+$")
      set(DNNL_VERSION ${version})
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DNNL REQUIRED_VARS DNNL_LIBRARY DNNL_INCLUDE_DIR VERSION_VAR DNNL_VERSION
  REASON_FAILURE_MESSAGE "install libdnnl-dev (Debian) or oneDNN")

if(DNNL_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES
    IMPORTED_LOCATION "${DNNL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
endif()
