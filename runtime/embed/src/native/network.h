// The network as steps (lehrnet/model/network.py, stages.py, blocks.py): planned for one input size.
#pragma once

#include <memory>
#include <vector>

#include "artefact.h"
#include "matrix.h"
#include "steps.h"

namespace lehrnet::native {

struct Plan {
    std::vector<std::unique_ptr<Step>> steps;
    Weights weights;
    Index places[PLACES] = {};  // floats
    Index tables = 0;           // pointers
    int people = 1;             // of one pass
};

// Takes all of the artefact's tensors. Height and width are multiples of 32; `threads` may share a map's rows.
Plan plan_network(Artefact& artefact, int height, int width, int people, int threads, const Kernels& kernels);

}  // namespace lehrnet::native
