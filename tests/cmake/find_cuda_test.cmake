# Finding CUDA on fake machines: folders with empty files where the toolkit, distributions, pip wheels and conda put
# nvcc, libraries and headers. Nothing is compiled.
#   cmake -D SCRATCH=... -P find_cuda_test.cmake

cmake_minimum_required(VERSION 3.24...3.31)
set(ROOT ${CMAKE_CURRENT_LIST_DIR}/../..)

# What find_one.cmake, run on the machine below `machine`, prints. ARGN: more settings and environment (A=B).
function(find_on machine result status)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env --unset=CUDACXX --unset=CUDA_HOME --unset=CUDA_PATH --unset=VIRTUAL_ENV
            --unset=CONDA_PREFIX --unset=CUDNN_ROOT --unset=NCCL_ROOT --unset=CUBLASLT_ROOT --unset=CMAKE_PREFIX_PATH
            HOME=${machine}/home PATH=${machine}/bin ${ARGN}
            ${CMAKE_COMMAND} -D MACHINE=${machine} -D ROOT=${ROOT} -D MODE=${MODE}
            -P ${CMAKE_CURRENT_LIST_DIR}/find_one.cmake
    OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE code)
  string(REPLACE "${machine}/" "" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
  set(${status} ${code} PARENT_SCOPE)
endfunction()

function(expect text)
  foreach(line IN LISTS ARGN)
    string(FIND "${text}" "${line}" at)
    if(at EQUAL -1)
      message(SEND_ERROR "${name}: expected\n  ${line}\nin\n${text}")
    endif()
  endforeach()
endfunction()

function(put_nvcc path release)
  file(WRITE ${path} "#!/bin/sh\necho 'Cuda compilation tools, release ${release}, V${release}.88'\n")
  file(CHMOD ${path} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

function(put_headers folder)
  file(WRITE ${folder}/cudnn.h "")
  file(WRITE ${folder}/cudnn_version.h "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 12\n#define CUDNN_PATCHLEVEL 3\n")
  file(WRITE ${folder}/cublasLt.h "")
  file(WRITE ${folder}/cublas_api.h
       "#define CUBLAS_VER_MAJOR 13\n#define CUBLAS_VER_MINOR 1\n#define CUBLAS_VER_PATCH 2\n")
  file(WRITE ${folder}/nccl.h "#define NCCL_MAJOR 2\n#define NCCL_MINOR 28\n#define NCCL_PATCH 9\n")
endfunction()

function(put_libraries folder)
  foreach(library libcudnn.so.9 libcublasLt.so.13 libnccl.so.2)
    file(WRITE ${folder}/${library} "")
  endforeach()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
set(MODE AUTO)

set(name toolkit)
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/usr/local/cuda/bin/nvcc 13.0)
put_headers(${machine}/usr/local/cuda/include)
put_libraries(${machine}/usr/local/cuda/lib64)
find_on(${machine} text status)
expect("${text}" "CUDA ON 13 usr/local/cuda/bin/nvcc" "CUDNN ON 9.12.3 usr/local/cuda/lib64 usr/local/cuda/include"
       "CUBLASLT ON 13.1.2 usr/local/cuda/lib64 usr/local/cuda/include"
       "NCCL ON 2.28.9 usr/local/cuda/lib64 usr/local/cuda/include")

set(name distribution)
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/bin/nvcc 13.0)
put_headers(${machine}/usr/include)
put_libraries(${machine}/usr/lib/x86_64-linux-gnu)
find_on(${machine} text status)
expect("${text}" "CUDA ON 13 bin/nvcc" "CUDNN ON 9.12.3 usr/lib/x86_64-linux-gnu usr/include"
       "CUBLASLT ON 13.1.2 usr/lib/x86_64-linux-gnu usr/include" "NCCL ON 2.28.9 usr/lib/x86_64-linux-gnu usr/include")

set(name wheels)  # no development links, and a folder for each wheel
set(machine ${SCRATCH}/${name})
set(nvidia ${machine}/venv/lib/python3.11/site-packages/nvidia)
put_nvcc(${nvidia}/cu13/bin/nvcc 13.0)
put_headers(${machine}/all)
foreach(wheel_file cudnn/lib/libcudnn.so.9 cu13/lib/libcublasLt.so.13 nccl/lib/libnccl.so.2)
  file(WRITE ${nvidia}/${wheel_file} "")
endforeach()
file(COPY ${machine}/all/cudnn.h ${machine}/all/cudnn_version.h DESTINATION ${nvidia}/cudnn/include)
file(COPY ${machine}/all/cublasLt.h ${machine}/all/cublas_api.h DESTINATION ${nvidia}/cu13/include)
file(COPY ${machine}/all/nccl.h DESTINATION ${nvidia}/nccl/include)
set(site venv/lib/python3.11/site-packages/nvidia)
find_on(${machine} text status VIRTUAL_ENV=${machine}/venv)
expect("${text}" "CUDA ON 13 ${site}/cu13/bin/nvcc" "CUDNN ON 9.12.3 ${site}/cudnn/lib ${site}/cudnn/include"
       "CUBLASLT ON 13.1.2 ${site}/cu13/lib ${site}/cu13/include" "NCCL ON 2.28.9 ${site}/nccl/lib ${site}/nccl/include")
find_on(${machine} text status)
expect("${text}" "CUDA OFF" "no nvcc")  # an environment that is not active is not searched
file(COPY ${machine}/venv/lib DESTINATION ${machine}/home/.local)
find_on(${machine} text status)
expect("${text}" "CUDNN ON 9.12.3 home/.local/lib/python3.11/site-packages/nvidia/cudnn/lib")

set(name conda)
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/conda/bin/nvcc 13.0)
put_headers(${machine}/conda/targets/x86_64-linux/include)
put_libraries(${machine}/conda/lib)
find_on(${machine} text status CONDA_PREFIX=${machine}/conda)
expect("${text}" "CUDA ON 13 conda/bin/nvcc" "CUDNN ON 9.12.3 conda/lib conda/targets/x86_64-linux/include"
       "CUBLASLT ON 13.1.2 conda/lib" "NCCL ON 2.28.9 conda/lib")

set(name elsewhere)  # NAME_ROOT
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/bin/nvcc 13.0)
put_headers(${machine}/opt/mine/include)
put_libraries(${machine}/opt/mine/lib)
find_on(${machine} text status CUDNN_ROOT=${machine}/opt/mine)
expect("${text}" "CUDNN ON 9.12.3 opt/mine/lib opt/mine/include" "CUBLASLT OFF" "NCCL OFF")

set(name incomplete)  # nvcc alone builds, and says what it left out; ON fails and names all three
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/bin/nvcc 13.0)
put_libraries(${machine}/usr/lib)  # libraries without headers
set(parts "no cuDNN 9: install it (Debian: cudnn9-cuda-13, pip: nvidia-cudnn-cu13, conda: cudnn) or set CUDNN_ROOT"
    "no cuBLASLt of CUDA 13: install cuBLAS (Debian: libcublas-dev-13-0, pip: nvidia-cublas"
    "no NCCL 2: install it (Debian: libnccl-dev, pip: nvidia-nccl-cu13")
find_on(${machine} text status)
expect("${text}" "CUDA ON 13 bin/nvcc" "CUDNN OFF" "CUBLASLT OFF" "NCCL OFF" "-- Left out: ${parts}")
if(NOT status EQUAL 0)
  message(SEND_ERROR "${name}: AUTO failed:\n${text}")
endif()
set(MODE ON)
find_on(${machine} text status)
expect("${text}" "ZEROTH_CUDA is ON, but there is" ${parts})
if(status EQUAL 0)
  message(SEND_ERROR "${name}: ON did not fail:\n${text}")
endif()

set(name bare)  # no nvcc: one line, or a failure that names every part
set(machine ${SCRATCH}/${name})
file(MAKE_DIRECTORY ${machine}/bin)
find_on(${machine} text status)
expect("${text}" "ZEROTH_CUDA is ON, but there is" "no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda" ${parts})
if(status EQUAL 0)
  message(SEND_ERROR "${name}: ON did not fail:\n${text}")
endif()
set(MODE AUTO)
find_on(${machine} text status)
if(NOT text STREQUAL "-- CUDA left out: no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda; install the CUDA toolkit\nCUDA OFF\nCUDNN OFF\nCUBLASLT OFF\nNCCL OFF\n")
  message(SEND_ERROR "${name}: AUTO printed\n${text}")
endif()

set(name old)
set(machine ${SCRATCH}/${name})
put_nvcc(${machine}/bin/nvcc 11.8)
find_on(${machine} text status)
expect("${text}" "CUDA OFF" "bin/nvcc is of CUDA 11.8; CUDA 12 or newer is needed")
