// Which set of instructions this processor runs.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace lehrnet::native {

// The best set that was built and that the processor has; the one named by $LEHRNET_INSTRUCTIONS, if that is set.
// Failure (LEHRNET_INVALID_ARGUMENT) where it names one that is not there.
const Kernels& choose_instructions();
const Kernels& choose_instructions(const std::string& name);

// Multiply-adds of floats a second that this processor reaches where nothing else has to be done: the most of some rounds.
double measured_peak(const Kernels& kernels, int rounds);

// Those that were built and that the processor has, the best first.
std::vector<const Kernels*> usable_instructions();

}  // namespace lehrnet::native
