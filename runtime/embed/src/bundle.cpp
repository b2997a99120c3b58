#include "bundle.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "failure.h"
#include "json.h"
#include "sha256.h"

namespace lehrnet {
namespace {

constexpr const char* FORMAT = "lehrnet-bundle-1";
constexpr long long MOST_JOINTS = 1024;
constexpr long long LARGEST_SIDE = 4096;

std::vector<unsigned char> read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
    if (size < 0) fail(LEHRNET_BAD_BUNDLE, path.string(), " cannot be read; copy the bundle again");
    std::vector<unsigned char> content(static_cast<std::size_t>(size));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(content.data()), size);
    if (!file) fail(LEHRNET_BAD_BUNDLE, path.string(), " cannot be read; copy the bundle again");
    return content;
}

std::vector<std::pair<int, int>> pairs(const json::Value& value, long long joints) {
    std::vector<std::pair<int, int>> found;
    for (const json::Value& pair : value.array()) {
        if (pair.array().size() != 2) throw std::runtime_error("expected pairs of joints");
        found.emplace_back(pair.array()[0].integer(0, joints - 1), pair.array()[1].integer(0, joints - 1));
    }
    return found;
}

std::array<double, 3> three(const json::Value& value) {
    if (value.array().size() != 3) throw std::runtime_error("expected three numbers");
    std::array<double, 3> found{};
    for (int i = 0; i < 3; ++i) {
        found[i] = value.array()[i].number();
        if (!std::isfinite(found[i])) throw std::runtime_error("expected finite numbers");
    }
    return found;
}

DecodeMethod decode_of(const std::string& name) {
    if (name == "quarter") return QUARTER;
    if (name == "dark") return DARK;
    if (name == "udp") return UDP;
    throw std::runtime_error("decode is \"" + name + "\", expected quarter, dark or udp");
}

Spec spec_of(const json::Value& pose) {
    Spec spec;
    const json::Value& skeleton = pose["skeleton"];
    spec.skeleton = skeleton["name"].string();
    for (const json::Value& joint : skeleton["joints"].array()) spec.joints.push_back(joint.string());
    const auto joints = static_cast<long long>(spec.joints.size());
    if (joints < 1 || joints > MOST_JOINTS) throw std::runtime_error("expected 1 to 1024 joints");
    spec.flip_pairs = pairs(skeleton["flip_pairs"], joints);
    spec.limbs = pairs(skeleton["limbs"], joints);
    const json::Value::Array& size = pose["input_size"].array();
    if (size.size() != 2) throw std::runtime_error("input_size: expected height and width");
    spec.input_height = static_cast<int>(size[0].integer(32, LARGEST_SIDE));
    spec.input_width = static_cast<int>(size[1].integer(32, LARGEST_SIDE));
    if (spec.input_height % 32 || spec.input_width % 32) throw std::runtime_error("input_size: expected multiples of 32");
    spec.padding = pose["padding"].number();
    spec.mean = three(pose["mean"]);
    spec.std = three(pose["std"]);
    if (!(spec.padding > 0 && spec.padding < 1e6)) throw std::runtime_error("padding: expected a positive number");
    for (const double each : spec.std) {
        if (!(each > 0)) throw std::runtime_error("std: expected positive numbers");
    }
    spec.decode_name = pose["decode"].string();
    spec.decode = decode_of(spec.decode_name);
    return spec;
}

void take_artefact(Manifest& manifest, const json::Value& artefacts, const std::string& precision,
                   const std::string& name) {
    if (!artefacts.has(precision)) {
        std::string there;
        for (const auto& [each, _] : artefacts.object()) there += (there.empty() ? "" : ", ") + each;
        fail(LEHRNET_NOT_FOUND, name, " has no '", precision, "'; it has ", there);
    }
    const json::Value& artefact = artefacts[precision];
    manifest.file = artefact["file"].string();
    manifest.sha256 = artefact["sha256"].string();
    manifest.bytes = static_cast<std::uint64_t>(artefact["bytes"].integer(0, 1LL << 40));
    if (manifest.file.empty() || manifest.file == "." || manifest.file == ".." ||
        manifest.file.find_first_of("/\\:") != std::string::npos) {
        throw std::runtime_error("artefact \"" + manifest.file + "\" lies outside the bundle");
    }
}

}  // namespace

Manifest read_manifest(std::string_view text, const std::string& precision, const std::string& name) {
    try {
        const json::Value content = json::parse(text);
        const std::string& format = content["format"].string();
        if (format != FORMAT) {
            fail(LEHRNET_UNKNOWN_FORMAT, name, ": its format is '", format, "', this library reads '", FORMAT,
                 "'; use the lehrnet that exported it, or export it again");
        }
        Manifest manifest;
        manifest.variant = content["variant"].string();
        manifest.note = content["note"].string();
        manifest.trained = content["trained"].boolean();
        if (content["input"]["colour_order"].string() != "rgb") throw std::runtime_error("colour_order: expected rgb");
        if (content["output"]["stride"].integer(1, 64) != 4) throw std::runtime_error("stride: expected 4");
        manifest.input_name = content["input"]["name"].string();
        manifest.output_name = content["output"]["name"].string();
        manifest.spec = spec_of(content["pose"]);
        take_artefact(manifest, content["artefacts"], precision, name);
        return manifest;
    } catch (const Failure&) {
        throw;
    } catch (const std::runtime_error& error) {
        fail(LEHRNET_BAD_BUNDLE, name, " cannot be read: ", error.what(), "; export the bundle again");
    }
}

Bundle open_bundle(const std::string& folder, const std::string& precision) {
    const std::filesystem::path root(folder), name = root / "bundle.json";
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(name, ignored)) {
        fail(LEHRNET_NOT_FOUND, "no bundle at ", folder, ": it has no bundle.json; `lehrnet export` writes one");
    }
    const std::vector<unsigned char> text = read_file(name);
    Bundle bundle;
    bundle.manifest =
        read_manifest({reinterpret_cast<const char*>(text.data()), text.size()}, precision, name.string());
    const std::filesystem::path file = root / bundle.manifest.file;
    if (!std::filesystem::is_regular_file(file, ignored)) {
        fail(LEHRNET_BAD_BUNDLE, file.string(), " is missing; copy the bundle again or export it again");
    }
    bundle.model = read_file(file);
    if (bundle.model.size() != bundle.manifest.bytes) {
        fail(LEHRNET_HASH_DIFFERS, file.string(), " has ", bundle.model.size(), " bytes, expected ",
             bundle.manifest.bytes, "; copy the bundle again");
    }
    const std::string found = sha256(bundle.model.data(), bundle.model.size());
    if (found != bundle.manifest.sha256) {
        fail(LEHRNET_HASH_DIFFERS, file.string(), " has SHA-256 ", found.substr(0, 12), "..., expected ",
             bundle.manifest.sha256.substr(0, 12), "...; copy it again");
    }
    return bundle;
}

}  // namespace lehrnet
