#pragma once

#include <string>

#include "engine/parameters.h"
#include "engine/tape.h"

namespace zeroth {

/// What is not finite first in a forward pass, in words: a parameter before it, or an operation's result,
/// which the tape has kept; nothing where all is finite. Waits for the stream again and again.
std::string nonfinite_result(Context& context, const ParameterStore& store, const Tape& tape);

/// The last of the network's parameters, the first on the way back, whose gradient is not finite.
std::string nonfinite_gradient(Context& context, const ParameterStore& store);

}  // namespace zeroth
