#include "onnx_graph.h"

#include <cstdint>
#include <stdexcept>
#include <string_view>

namespace lehrnet {
namespace {

// The messages of onnx.proto in which a tensor can lie; a training step and a function count as graphs of their own.
enum Message { MODEL, TRAINING, FUNCTION, GRAPH, NODE, ATTRIBUTE, SPARSE, TENSOR, OTHER };

struct Child {
    Message parent;
    std::uint64_t field;
    Message kind;
};

constexpr Child CHILDREN[] = {
    {MODEL, 7, GRAPH},        {MODEL, 20, TRAINING},    {MODEL, 25, FUNCTION},   {TRAINING, 1, GRAPH},
    {TRAINING, 2, GRAPH},     {FUNCTION, 7, NODE},      {FUNCTION, 11, ATTRIBUTE}, {GRAPH, 1, NODE},
    {GRAPH, 5, TENSOR},       {GRAPH, 15, SPARSE},      {NODE, 5, ATTRIBUTE},    {ATTRIBUTE, 5, TENSOR},
    {ATTRIBUTE, 6, GRAPH},    {ATTRIBUTE, 10, TENSOR},  {ATTRIBUTE, 11, GRAPH},  {ATTRIBUTE, 22, SPARSE},
    {ATTRIBUTE, 23, SPARSE},  {SPARSE, 1, TENSOR},      {SPARSE, 2, TENSOR}};

constexpr std::uint64_t NODE_OPERATOR = 4, TENSOR_EXTERNAL_DATA = 13, TENSOR_DATA_LOCATION = 14;
constexpr unsigned VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;  // wire types; groups are not of ONNX
constexpr int DEEPEST = 100;  // protobuf's own limit

Message child_of(Message parent, std::uint64_t field) {
    for (const Child& child : CHILDREN) {
        if (child.parent == parent && child.field == field) return child.kind;
    }
    return OTHER;
}

// Stricter than protobuf: every number in its shortest form, so that both see the same fields.
class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    bool at_end() const { return bytes_.empty(); }

    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const auto byte = static_cast<unsigned char>(skip(1)[0]);
            value |= std::uint64_t{byte & 0x7Fu} << shift;
            if (byte < 0x80) {
                if ((byte == 0 && shift > 0) || (shift == 63 && byte > 1)) wrong();
                return value;
            }
        }
        wrong();
    }

    std::string_view skip(std::uint64_t count) {
        if (count > bytes_.size()) wrong();
        const std::string_view taken = bytes_.substr(0, static_cast<std::size_t>(count));
        bytes_.remove_prefix(taken.size());
        return taken;
    }

    [[noreturn]] static void wrong() { throw std::runtime_error("it is no ONNX file, or a damaged one"); }

private:
    std::string_view bytes_;
};

void check_field(Message kind, std::uint64_t field, std::string_view content) {
    if (kind == TENSOR && field == TENSOR_EXTERNAL_DATA) {
        throw std::runtime_error("numbers of it lie in another file, whose hash no manifest has: save it as one file");
    }
    // Compiled for one machine: code, and it can be a file's name.
    if (kind == NODE && field == NODE_OPERATOR && content == "EPContext") {
        throw std::runtime_error("it holds code compiled for one machine (EPContext): take the graph that it came from");
    }
}

void check_message(Message kind, std::string_view bytes, int depth) {
    if (depth > DEEPEST) throw std::runtime_error("it is nested too deeply");
    for (Reader reader(bytes); !reader.at_end();) {
        const std::uint64_t tag = reader.varint(), field = tag >> 3;
        if (field == 0 || tag > UINT32_MAX) Reader::wrong();
        switch (tag & 7) {
            case VARINT:
                if (reader.varint() != 0 && kind == TENSOR && field == TENSOR_DATA_LOCATION) {
                    check_field(TENSOR, TENSOR_EXTERNAL_DATA, {});
                }
                break;
            case FIXED64: reader.skip(8); break;
            case FIXED32: reader.skip(4); break;
            case BYTES: {
                const std::string_view content = reader.skip(reader.varint());
                check_field(kind, field, content);
                const Message child = child_of(kind, field);
                if (child != OTHER) check_message(child, content, depth + 1);
                break;
            }
            default: Reader::wrong();
        }
    }
}

}  // namespace

std::string wrong_graph(const unsigned char* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    try {
        if (bytes.substr(bytes.size() < 4 ? bytes.size() : 4, 4) == "ORTM") {
            throw std::runtime_error("it is ONNX Runtime's own format, expected an ONNX file");
        }
        check_message(MODEL, bytes, 0);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return {};
}

}  // namespace lehrnet
