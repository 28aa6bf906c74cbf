#include <cstdlib>

#include "kernels/core/cuda_device.h"
#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

TEST_CASE("no driver, an old driver and no GPU are three answers", "[report]") {
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  cuda_mock::start({.driver = 0});
  CHECK(cuda_native::why_unavailable() ==
        "no CUDA driver: install the NVIDIA driver, or train with --device cpu");
  cuda_mock::start({.driver = 12040});
  CHECK(cuda_native::why_unavailable() ==
        "the CUDA driver is too old: it serves CUDA 12.4, this program needs 13.0; update the NVIDIA driver, "
        "or "
        "train with --device cpu");
  cuda_mock::start({.gpus = {}});
  CHECK(cuda_native::why_unavailable() == "no GPU in this machine; train with --device cpu");
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  CHECK(cuda_native::why_unavailable() ==
        "no GPU is visible: CUDA_VISIBLE_DEVICES is ''; unset it, or train with --device cpu");
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  cuda_mock::start({.broken = cudaErrorSystemDriverMismatch});
  CHECK(cuda_native::why_unavailable() ==
        "no CUDA device can be used: system has unsupported display driver / cuda driver combination; train "
        "with "
        "--device cpu");
  cuda_mock::machine().broken = cudaSuccess;
  CHECK(cuda_native::why_unavailable().empty());
}

TEST_CASE("the report names driver, runtime and every GPU", "[report]") {
  cuda_mock::start(
      {.driver = 13010, .gpus = {{.name = "New", .major = 9, .memory = 1000}, {.name = "Old", .major = 6}}});
  const CudaReport report = report_cuda();
  CHECK(report.driver == "13.1");
  CHECK(report.runtime == "13.0");
  CHECK(report.missing.empty());
  REQUIRE(report.gpus.size() == 2);
  CHECK(report.gpus[0].name == "New");
  CHECK(report.gpus[0].major == 9);
  CHECK(report.gpus[0].memory == 1000);
  CHECK(report.gpus[0].multiprocessors == 100);
  CHECK(report.gpus[0].missing.empty());
  CHECK(report.gpus[1].missing ==
        "cuda:1 has compute capability 6.x, the kernels need 8.0 or newer; train with --device cpu");

  cuda_mock::start({.driver = 0});
  const CudaReport none = report_cuda();
  CHECK(none.driver.empty());
  CHECK(none.runtime == "13.0");
  CHECK(none.gpus.empty());
  CHECK_THAT(none.missing, ContainsSubstring("no CUDA driver"));
}

TEST_CASE("a device that is not there is asked for again later", "[report]") {
  cuda_mock::start({.gpus = {}});
  CHECK_THAT(cuda_native::why_unusable(0), ContainsSubstring("no GPU in this machine"));
  cuda_mock::start();
  CHECK(cuda_native::why_unusable(0).empty());
  CHECK_NOTHROW(backend(DeviceKind::cuda));
}
