# Finds cuBLASLt of the toolkit's major version, ZEROTH_CUDA_MAJOR: CUBLASLT_FOUND, CUBLASLT_VERSION,
# CUBLASLT_LIBRARY, CUBLASLT::headers. See cuda_library.cmake.
include(${CMAKE_CURRENT_LIST_DIR}/cuda_library.cmake)
zeroth_find_cuda_library(CUBLASLT libcublasLt.so.${ZEROTH_CUDA_MAJOR} cublasLt.h cublas_api.h CUBLAS_VER_)
