// Stands in for the row of cuBLASLt where the build found none.

#include "kernels/absent_row.h"
#include "kernels/linear/linear.h"

namespace zeroth::cublaslt {

const LinearRow linear_row = absent_row<LinearRow>("cublaslt");

}  // namespace zeroth::cublaslt
