#include "bundle.h"

#include <filesystem>

#include "failure.h"
#include "files.h"
#include "sha256.h"
#include "words.h"

namespace lehrnet {
namespace {

constexpr std::uint64_t LARGEST_MANIFEST = 4 << 20;  // bytes; they have some ten thousand

Manifest manifest_of(const std::filesystem::path& path, const std::string& precision) {
    File file(path);
    if (file.size() > LARGEST_MANIFEST) {
        fail(LEHRNET_BAD_BUNDLE, path.string(), " has ", file.size(), " bytes, expected at most ", LARGEST_MANIFEST,
             "; export the bundle again");
    }
    const std::vector<unsigned char> text = file.content();
    return read_manifest({reinterpret_cast<const char*>(text.data()), text.size()}, precision, path.string());
}

// The artefact, read once: these bytes are hashed, and these are run.
std::vector<unsigned char> artefact_of(const std::filesystem::path& path, const Manifest& manifest) {
    File file(path);
    if (file.size() != manifest.bytes) {
        fail(LEHRNET_HASH_DIFFERS, path.string(), " has ", file.size(), " bytes, expected ", manifest.bytes,
             "; copy the bundle again");
    }
    std::vector<unsigned char> content = file.content();
    const std::string found = sha256(content.data(), content.size());
    if (found != manifest.sha256) {
        fail(LEHRNET_HASH_DIFFERS, path.string(), " has SHA-256 ", found.substr(0, 12), "..., expected ",
             manifest.sha256.substr(0, 12), "...; copy it again");
    }
    return content;
}

}  // namespace

Bundle open_bundle(const std::string& folder, const std::string& precision) {
    const std::filesystem::path root(folder), name = root / "bundle.json";
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(name, ignored)) {
        fail(LEHRNET_NOT_FOUND, "no bundle at ", folder, ": it has no bundle.json; `lehrnet export` writes one");
    }
    Bundle bundle;
    bundle.manifest = manifest_of(name, precision);
    const std::filesystem::path file = root / bundle.manifest.file;
    if (!std::filesystem::exists(file, ignored)) {
        fail(LEHRNET_BAD_BUNDLE, file.string(), " is missing; copy the bundle again or export it again");
    }
    bundle.model = artefact_of(file, bundle.manifest);
    return bundle;
}

}  // namespace lehrnet
