// bundle.json: every field that this library goes by is held to its type and range before anything else is opened.
#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <tuple>

#include "bundle.h"
#include "failure.h"
#include "json.h"
#include "skeletons.h"
#include "words.h"

namespace lehrnet {
namespace {

constexpr const char* FORMAT = "lehrnet-bundle-1";
constexpr long long MOST_JOINTS = 1024, MOST_LIMBS = 4096;
constexpr long long LARGEST_SIDE = 4096;            // px of a crop
constexpr long long LARGEST_ARTEFACT = 1LL << 31;   // bytes: what an ONNX file can have
constexpr long long LARGEST_BATCH = 1 << 20;
constexpr std::size_t LONGEST_NAME = 255, LONGEST_NOTE = 1 << 16;  // bytes

[[noreturn]] void wrong(const std::string& what) { throw std::runtime_error(what); }

// read(owner[key]), whose complaint then names the key.
template <class Read>
auto field(const json::Value& owner, const char* key, const Read& read) {
    const json::Value& value = owner[key];
    try {
        return read(value);
    } catch (const Failure&) {
        throw;
    } catch (const std::runtime_error& error) {
        wrong(std::string(key) + ": " + error.what());
    }
}

std::string name_in(const json::Value& value) {
    const std::string& text = value.string();
    if (text.empty() || text.size() > LONGEST_NAME || !is_plain(text, false)) {
        wrong("expected a name of 1 to 255 bytes without control characters, found \"" + clipped(text) + "\"");
    }
    return text;
}

std::string note_in(const json::Value& value) {
    const std::string& text = value.string();
    if (text.size() > LONGEST_NOTE || !is_plain(text, true)) {
        wrong("expected text of at most 65536 bytes without control characters, found \"" + clipped(text) + "\"");
    }
    return text;
}

std::string one_of(const json::Value& value, std::initializer_list<const char*> allowed) {
    const std::string& text = value.string();
    std::string list;
    for (const char* each : allowed) {
        if (text == each) return text;
        list += (list.empty() ? "" : " or ") + std::string(each);
    }
    wrong("expected " + list + ", found \"" + clipped(text) + "\"");
}

std::vector<std::pair<int, int>> pairs_in(const json::Value& value, long long joints, long long most) {
    const json::Value::Array& items = value.array();
    if (static_cast<long long>(items.size()) > most) {
        wrong("expected at most " + std::to_string(most) + " pairs, found " + std::to_string(items.size()));
    }
    std::vector<std::pair<int, int>> found;
    for (const json::Value& pair : items) {
        if (pair.array().size() != 2) wrong("expected pairs of joints");
        const auto first = pair.array()[0].integer(0, joints - 1), second = pair.array()[1].integer(0, joints - 1);
        if (first == second) wrong("expected two different joints, found " + std::to_string(first) + " twice");
        found.emplace_back(static_cast<int>(first), static_cast<int>(second));
    }
    return found;
}

std::vector<std::pair<int, int>> flip_pairs_in(const json::Value& value, long long joints) {
    const auto found = pairs_in(value, joints, joints / 2);
    std::vector<bool> seen(static_cast<std::size_t>(joints));
    for (const auto& [left, right] : found) {
        for (const int joint : {left, right}) {
            if (seen[joint]) wrong("expected each joint in one pair, found " + std::to_string(joint) + " in two");
            seen[joint] = true;
        }
    }
    return found;
}

// Of `count` numbers from `lowest` to `highest`.
std::vector<double> numbers_in(const json::Value& value, std::size_t count, double lowest, double highest) {
    if (value.array().size() != count) {
        wrong("expected " + std::to_string(count) + " numbers, found " + std::to_string(value.array().size()));
    }
    std::vector<double> found;
    for (const json::Value& each : value.array()) found.push_back(each.number(lowest, highest));
    return found;
}

std::array<double, 3> three_in(const json::Value& value, double lowest, double highest) {
    const std::vector<double> found = numbers_in(value, 3, lowest, highest);
    return {found[0], found[1], found[2]};
}

std::pair<int, int> size_in(const json::Value& value) {
    if (value.array().size() != 2) wrong("expected height and width");
    const auto height = value.array()[0].integer(32, LARGEST_SIDE), width = value.array()[1].integer(32, LARGEST_SIDE);
    if (height % 32 || width % 32) wrong("expected multiples of 32");
    return {static_cast<int>(height), static_cast<int>(width)};
}

std::vector<std::string> joints_in(const json::Value& value) {
    const json::Value::Array& items = value.array();
    if (items.empty() || items.size() > MOST_JOINTS) {
        wrong("expected 1 to " + std::to_string(MOST_JOINTS) + ", found " + std::to_string(items.size()));
    }
    std::vector<std::string> found;
    for (const json::Value& item : items) {
        found.push_back(name_in(item));
        if (std::count(found.begin(), found.end(), found.back()) > 1) {
            wrong("expected each name once, found \"" + clipped(found.back()) + "\" twice");
        }
    }
    return found;
}

// What the manifest says of a body that we know, against our own; another skeleton is the manifest's alone.
void check_skeleton(const Spec& spec) {
    for (const Skeleton& known : skeletons()) {
        if (spec.skeleton != known.name) continue;
        if (!std::equal(spec.joints.begin(), spec.joints.end(), known.joints.begin(), known.joints.end())) {
            wrong("its " + std::to_string(spec.joints.size()) + " joints are not " + std::string(known.name) + "'s " +
                  std::to_string(known.joints.size()) + " in their order");
        }
        if (spec.flip_pairs != known.flip_pairs) wrong("its flip_pairs are not " + std::string(known.name) + "'s");
    }
}

void take_skeleton(Spec& spec, const json::Value& skeleton) {
    spec.skeleton = field(skeleton, "name", name_in);
    spec.joints = field(skeleton, "joints", joints_in);
    const auto joints = static_cast<long long>(spec.joints.size());
    spec.flip_pairs = field(skeleton, "flip_pairs", [&](const auto& value) { return flip_pairs_in(value, joints); });
    spec.limbs = field(skeleton, "limbs", [&](const auto& value) { return pairs_in(value, joints, MOST_LIMBS); });
    spec.sigmas = field(skeleton, "sigmas", [&](const auto& value) { return numbers_in(value, spec.joints.size(), 1e-6, 10); });
    check_skeleton(spec);
}

std::int32_t frame_in(const json::Value& value) {
    const std::string frame = one_of(value, {"edges", "hrnet", "udp"});
    return frame == "edges" ? FRAME_EDGES : frame == "hrnet" ? FRAME_HRNET : FRAME_UDP;
}

// Whole cells fill the crop, at least two each way.
int stride_in(const json::Value& value, const Spec& spec) {
    const int stride = static_cast<int>(value.integer(1, 16));
    if (spec.input_height % stride || spec.input_width % stride) {
        wrong("expected a divisor of the input size, found " + std::to_string(stride));
    }
    return stride;
}

DecodeMethod decode_of(const std::string& name) { return name == "quarter" ? QUARTER : name == "dark" ? DARK : UDP; }

Spec spec_in(const json::Value& pose) {
    Spec spec;
    field(pose, "skeleton", [&](const auto& value) { take_skeleton(spec, value); });
    std::tie(spec.input_height, spec.input_width) = field(pose, "input_size", size_in);
    spec.padding = field(pose, "padding", [](const auto& value) { return value.number(0.01, 100); });
    spec.mean = field(pose, "mean", [](const auto& value) { return three_in(value, -100, 100); });
    spec.std = field(pose, "std", [](const auto& value) { return three_in(value, 1e-4, 100); });
    if (pose.has("sigma")) field(pose, "sigma", [](const auto& value) { return value.number(1e-3, 1000); });
    spec.decode_name = field(pose, "decode", [](const auto& value) { return one_of(value, {"quarter", "dark", "udp"}); });
    spec.decode = decode_of(spec.decode_name);
    if (pose.has("frame")) spec.frame = field(pose, "frame", frame_in);
    if (pose.has("min_score")) {
        spec.min_score = field(pose, "min_score", [](const auto& value) { return static_cast<float>(value.number(0, 1000)); });
    }
    return spec;
}

std::string file_in(const json::Value& value) {
    std::string name = name_in(value);
    if (name == "." || name == ".." || name.find_first_of("/\\:") != std::string::npos) {
        wrong("\"" + clipped(name) + "\" lies outside the bundle");
    }
    return name;
}

std::string sha256_in(const json::Value& value) {
    const std::string& text = value.string();
    if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
        wrong("expected 64 lower-case hex digits, found \"" + clipped(text) + "\"");
    }
    return text;
}

std::pair<int, int> batch_in(const json::Value& value) {
    const json::Value::Array& ends = value.array();
    if (ends.size() != 2) wrong("expected the smallest and the largest");
    const auto least = ends[0].integer(1, LARGEST_BATCH);
    const bool open = std::holds_alternative<std::nullptr_t>(ends[1].content);
    const auto most = open ? LARGEST_BATCH : ends[1].integer(least, LARGEST_BATCH);
    return {static_cast<int>(least), static_cast<int>(most)};
}

void take_artefact(Manifest& manifest, const json::Value& artefact) {
    manifest.file = field(artefact, "file", file_in);
    manifest.sha256 = field(artefact, "sha256", sha256_in);
    manifest.bytes = static_cast<std::uint64_t>(
        field(artefact, "bytes", [](const auto& value) { return value.integer(1, LARGEST_ARTEFACT); }));
    if (artefact.has("batch")) std::tie(manifest.least_batch, manifest.most_batch) = field(artefact, "batch", batch_in);
    if (!artefact.has("built_for")) return;
    manifest.built_for = field(artefact, "built_for", [](const auto& value) {
        return field(value, "library", [](const auto& name) { return one_of(name, {"tensorrt", "tensorrt_rtx"}); });
    });
}

// What "auto" stands for: FP32 packed for our own engine if the bundle has it, else the graph.
std::string default_in(const json::Value& artefacts) {
    for (const auto& [name, artefact] : artefacts.object()) {
        if (!ends_with(artefact["file"].string(), ".lehrnet")) continue;
        if (!artefact.has("precision") || artefact["precision"].string() == "fp32") return name;
    }
    return "fp32";
}

const json::Value& artefact_of(const json::Value& artefacts, const std::string& precision, const std::string& name) {
    if (artefacts.object().count(precision)) return artefacts[precision];
    std::string there;
    for (const auto& [each, _] : artefacts.object()) {
        if (there.size() < 400) there += (there.empty() ? "" : ", ") + clipped(each);
    }
    fail(LEHRNET_NOT_FOUND, name, " has no '", clipped(precision), "'; it has ", there);
}

Manifest manifest_in(const json::Value& content, const std::string& precision, const std::string& name) {
    Manifest manifest;
    manifest.variant = field(content, "variant", name_in);
    manifest.note = field(content, "note", note_in);
    manifest.trained = field(content, "trained", [](const auto& value) { return value.boolean(); });
    field(content, "input", [&](const auto& input) {
        manifest.input_name = field(input, "name", name_in);
        field(input, "layout", [](const auto& value) { return one_of(value, {"NCHW"}); });
        field(input, "colour_order", [](const auto& value) { return one_of(value, {"rgb"}); });
    });
    field(content, "output", [&](const auto& output) {
        manifest.output_name = field(output, "name", name_in);
        field(output, "layout", [](const auto& value) { return one_of(value, {"NCHW"}); });
    });
    manifest.spec = field(content, "pose", spec_in);
    field(content, "output", [&](const auto& output) {
        manifest.spec.stride = field(output, "stride", [&](const auto& value) { return stride_in(value, manifest.spec); });
    });
    field(content, "artefacts", [&](const auto& artefacts) {
        manifest.precision = precision == "auto" ? default_in(artefacts) : precision;
        const json::Value& artefact = artefact_of(artefacts, manifest.precision, name);
        try {
            take_artefact(manifest, artefact);
        } catch (const Failure&) {
            throw;
        } catch (const std::runtime_error& error) {
            wrong(clipped(manifest.precision) + ": " + error.what());
        }
    });
    return manifest;
}

}  // namespace

Manifest read_manifest(std::string_view text, const std::string& precision, const std::string& name) {
    try {
        const json::Value content = json::parse(text);
        const std::string& format = content["format"].string();
        if (format != FORMAT) {
            fail(LEHRNET_UNKNOWN_FORMAT, name, ": its format is '", clipped(format), "', this library reads '", FORMAT,
                 "'; use the lehrnet that exported it, or export it again");
        }
        return manifest_in(content, precision, name);
    } catch (const Failure&) {
        throw;
    } catch (const std::runtime_error& error) {
        fail(LEHRNET_BAD_BUNDLE, name, " cannot be read: ", error.what(), "; export the bundle again");
    }
}

}  // namespace lehrnet
