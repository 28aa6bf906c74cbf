# Finds cuDNN 9: CUDNN_FOUND, CUDNN_VERSION, CUDNN_LIBRARY, CUDNN::headers. See cuda_library.cmake.
include(${CMAKE_CURRENT_LIST_DIR}/cuda_library.cmake)
zeroth_find_cuda_library(CUDNN libcudnn.so.9 cudnn.h cudnn_version.h CUDNN_)
