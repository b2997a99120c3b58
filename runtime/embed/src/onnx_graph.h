// An ONNX file's bytes, looked through before ONNX Runtime sees them: it would open other files that they name.
#pragma once

#include <cstddef>
#include <string>

namespace lehrnet {

// Why a graph is not to be run: its numbers lie in other files, whose hashes no manifest has, or it holds code for one
// machine. Empty if nothing speaks against it. It looks at the protocol's structure only, in subgraphs and functions too.
std::string wrong_graph(const unsigned char* data, std::size_t size);

}  // namespace lehrnet
