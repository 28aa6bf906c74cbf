# Finds Gloo, the collectives of ranks on CPUs: Gloo::gloo, Gloo_FOUND. Debian's own package file names a build type
# that other packages' need not have; hence this search.

find_path(GLOO_INCLUDE_DIR NAMES gloo/alltoallv.h)
find_library(GLOO_LIBRARY NAMES gloo)
mark_as_advanced(GLOO_INCLUDE_DIR GLOO_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Gloo REQUIRED_VARS GLOO_LIBRARY GLOO_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libgloo-dev (Debian) or Gloo")

if(Gloo_FOUND AND NOT TARGET Gloo::gloo)
  add_library(Gloo::gloo UNKNOWN IMPORTED)
  set_target_properties(Gloo::gloo PROPERTIES
    IMPORTED_LOCATION "${GLOO_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${GLOO_INCLUDE_DIR}")
endif()
