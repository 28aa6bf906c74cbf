# Finds NCCL 2: NCCL_FOUND, NCCL_VERSION, NCCL_LIBRARY, NCCL::headers. See cuda_library.cmake.
include(${CMAKE_CURRENT_LIST_DIR}/cuda_library.cmake)
zeroth_find_cuda_library(NCCL libnccl.so.2 nccl.h nccl.h NCCL_)
