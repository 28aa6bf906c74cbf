# Installs the build into an empty folder and builds a project against what lies there.
#   cmake -D BUILD=... -D SCRATCH=... -D CONFIG=... -D CONSUMER=... -D COMPILER=... -D LAUNCHER=... -D VERSION=...
#         -D CUDA_FOLDER=... -P install_test.cmake

set(prefix ${SCRATCH}/prefix)
set(consumer_build ${SCRATCH}/consumer)
file(REMOVE_RECURSE ${prefix} ${consumer_build})

function(run output)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: exit ${status}\n${text}")
  endif()
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

run(ignored ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --config ${CONFIG})

run(text ${prefix}/bin/zeroth --version)
if(NOT text MATCHES "^zeroth ${VERSION}")
  message(FATAL_ERROR "zeroth --version printed '${text}', expected zeroth ${VERSION}")
endif()

if(CUDA_FOLDER)  # the loader does not know the toolkit's folder
  run(text readelf -d ${prefix}/bin/zeroth)
  if(NOT text MATCHES "R(UN)?PATH[^\n]*${CUDA_FOLDER}")
    message(FATAL_ERROR "the installed program does not look for libraries in ${CUDA_FOLDER}:\n${text}")
  endif()
endif()

run(ignored ${CMAKE_COMMAND} -G Ninja -S ${CONSUMER} -B ${consumer_build} -D CMAKE_PREFIX_PATH=${prefix}
    -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -D CMAKE_BUILD_TYPE=None
    -D ZEROTH_WANTED=${VERSION})
run(ignored ${CMAKE_COMMAND} --build ${consumer_build})
run(text ${consumer_build}/consumer)
if(NOT text MATCHES "resnet20: 272474 parameters")
  message(FATAL_ERROR "the consumer printed '${text}'")
endif()
