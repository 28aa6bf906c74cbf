# cmake --install: the program, the libraries with their headers, and a package for find_package(zeroth).

include(CMakePackageConfigHelpers)

# Everything a consumer can link at once.
add_library(zeroth_all INTERFACE)
target_link_libraries(zeroth_all INTERFACE zeroth_models zeroth_data)

set(ZEROTH_LIBRARIES zeroth_simt zeroth_kernels zeroth_data zeroth_engine zeroth_models)
foreach(library IN LISTS ZEROTH_LIBRARIES)
  string(REPLACE zeroth_ "" name ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${name})
  add_library(zeroth::${name} ALIAS ${library})
endforeach()
set_target_properties(zeroth_all PROPERTIES EXPORT_NAME zeroth)
add_library(zeroth::zeroth ALIAS zeroth_all)

set(ZEROTH_PACKAGE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/zeroth)
install(TARGETS zeroth)
install(TARGETS ${ZEROTH_LIBRARIES} zeroth_all EXPORT zeroth_targets)
# Sources include "engine/tensor.h": the folders keep their names below include/zeroth. What only the libraries'
# own sources include stays out.
install(DIRECTORY kernels data engine models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/zeroth
        FILES_MATCHING PATTERN "*.h" PATTERN "*.cuh" PATTERN cmake EXCLUDE PATTERN check EXCLUDE
        PATTERN onednn.h EXCLUDE PATTERN cudnn.h EXCLUDE PATTERN cuda_check.h EXCLUDE)
install(EXPORT zeroth_targets NAMESPACE zeroth:: DESTINATION ${ZEROTH_PACKAGE_FOLDER})

configure_package_config_file(engine/cmake/zeroth-config.cmake.in ${PROJECT_BINARY_DIR}/zeroth-config.cmake
                              INSTALL_DESTINATION ${ZEROTH_PACKAGE_FOLDER} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/zeroth-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/zeroth-config.cmake ${PROJECT_BINARY_DIR}/zeroth-config-version.cmake
              engine/cmake/FindDNNL.cmake engine/cmake/FindGloo.cmake
        DESTINATION ${ZEROTH_PACKAGE_FOLDER})
