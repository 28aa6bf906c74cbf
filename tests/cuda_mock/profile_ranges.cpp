// Runs an operation inside a phase, for profile_listener.cpp to see.

#include <vector>

#include "kernels/core/profile_range.h"
#include "kernels/relu/relu.h"

using namespace zeroth;

int main() {
  Context context({DeviceKind::cpu, 0});
  void* data = context.allocator().allocate(64);
  context.memory().fill_zero(data, 64, context.stream());
  const TensorView x(data, {16}, DType::f32);
  {
    const ProfileRange step("step");
    relu_forward(context, x, x);
    relu_backward(context, x, x, x, GradMode::overwrite);
  }
  const ProfileRange last("last");
}
