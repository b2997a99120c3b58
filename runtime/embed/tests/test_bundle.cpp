// What a bundle must be, file by file and field by field: a manifest comes from anywhere.
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>

#include "check.h"
#include "../src/json.h"
#include "../src/onnx_graph.h"
#include "../src/sha256.h"
#include "../src/words.h"

namespace {

namespace fs = std::filesystem;

// The first of the golden manifests' pairs, as it is laid out.
constexpr const char* FIRST_PAIR = "\"flip_pairs\": [\n        [\n          1,\n          2\n        ]";

std::string golden;
fs::path scratch;  // removed at the end

lehrnet_status open_with(const fs::path& bundle, const char* device = "fake", int trust_engine = 0) {
    lehrnet_options options;
    lehrnet_options_init(&options, sizeof options);
    options.device = device;
    options.trust_engine = trust_engine;
    lehrnet_session* session = nullptr;
    const lehrnet_status status = lehrnet_open(bundle.string().c_str(), &options, LEHRNET_ABI_VERSION, &session);
    CHECK((status == LEHRNET_OK) == (session != nullptr));
    lehrnet_close(session);
    return status;
}

struct Change {
    std::string from, to;
};

// A copy of a golden bundle, in which `from` stands as `to` in the file.
fs::path changed(const char* file, std::initializer_list<Change> changes) {
    static int number = 0;
    const fs::path copy = scratch / std::to_string(number++);
    fs::copy(golden + "/quarter", copy);
    const std::vector<char> bytes = read_array<char>((copy / file).string());
    std::string text(bytes.begin(), bytes.end());
    for (const auto& [from, to] : changes) {
        const std::size_t at = text.find(from);
        CHECK(at != std::string::npos);
        if (at != std::string::npos) text.replace(at, from.size(), to);
    }
    std::ofstream(copy / file, std::ios::binary) << text;
    return copy;
}

lehrnet_status manifest(const std::string& from, const std::string& to) {
    return open_with(changed("bundle.json", {{from, to}}));
}

void a_manifest_says_what_can_be() {
    CHECK_FAILS(manifest("lehrnet-bundle-1", "lehrnet-bundle-9"), LEHRNET_UNKNOWN_FORMAT, "lehrnet-bundle-9");
    CHECK_FAILS(manifest("{", "["), LEHRNET_BAD_BUNDLE, "cannot be read");
    const struct {
        const char *from, *to, *said;
    } faults[] = {
        {"\"padding\"", "\"filling\"", "pose: no \"padding\""},
        {"1.25", "-1.25", "pose: padding: expected a number from 0.01 to 100, found -1.25"},
        {"1.25", "1e308", "padding: expected a number"},
        {"1.25", "1e400", "a number too large"},
        {"1.25", "Infinity", "expected a value"},
        {"1.25", "NaN", "expected a value"},
        {"1.25", "\"1.25\"", "padding: expected a number, found a string"},
        {"0.485", "NaN", "expected a value"},
        {"0.485", "1e30", "mean: expected a number from"},
        {"0.485", "\"0.485\"", "mean: expected a number, found a string"},
        {"0.229", "0", "std: expected a number from"},
        {"0.229", "-0.229", "std: expected a number from"},
        {"0.229,", "", "std: expected 3 numbers, found 2"},
        {"64,", "65,", "input_size: expected multiples of 32"},
        {"64,", "64.0,", "input_size: expected a whole number from 32 to 4096, found a number"},
        {"64,", "8192,", "input_size: expected a whole number from 32 to 4096, found 8192"},
        {"64,", "-64,", "found -64"},
        {"64,", "0,", "found 0"},
        {"64,", "\"64\",", "found a string"},
        {"64,", "99999999999999999999,", "found a number"},
        {"\"decode\": \"quarter\"", "\"decode\": \"mean\"", "decode: expected quarter or dark or udp, found \"mean\""},
        {"\"frame\": \"edges\"", "\"frame\": \"corner\"", "frame: expected edges or hrnet or udp, found \"corner\""},
        {"\"rgb\"", "\"bgr\"", "input: colour_order: expected rgb, found \"bgr\""},
        {"\"rgb\"", "null", "expected a string, found null"},
        {"\"NCHW\"", "\"NHWC\"", "layout: expected NCHW"},
        {"\"stride\": 4", "\"stride\": 17", "stride: expected a whole number from 1 to 16, found 17"},
        {"\"stride\": 4", "\"stride\": 3", "output: stride: expected a divisor of the input size, found 3"},
        {"\"trained\": false", "\"trained\": \"false\"", "trained: expected true or false, found a string"},
        {"\"trained\": false", "\"trained\": 0", "trained: expected true or false, found a whole number"},
        {"\"trained\": false", "\"trained\": false, \"trained\": true", "a key that stands twice"},
        {"\"crops\"", "\"\"", "name: expected a name of 1 to 255 bytes"},
        {"\"crops\"", "\"cr\\u001bops\"", "without control characters"},
        {"golden file", "golden \\u009b file", "note: expected text"},
        {"golden file", "golden \xff file", "no UTF-8"},
    };
    for (const auto& [from, to, said] : faults) CHECK_FAILS(manifest(from, to), LEHRNET_BAD_BUNDLE, said);
}

void a_skeleton_is_the_one_that_its_name_says() {
    const struct {
        const char *from, *to, *said;
    } faults[] = {
        {"\"coco17\"", "\"mpii16\"", "skeleton: its 17 joints are not mpii16's 16"},
        {"\"coco17\"", "\"\"", "skeleton: name: expected a name of 1 to 255 bytes"},
        {"\"nose\"", "\"left_eye\"", "joints: expected each name once, found \"left_eye\" twice"},
        {"\"nose\"", "\"snout\"", "its 17 joints are not coco17's"},
        {"\"nose\",", "", "skeleton"},
        {"\"nose\"", "7", "joints: expected a string, found a whole number"},
        {"0.026,", "", "sigmas: expected 17 numbers, found 16"},
        {"0.026", "0", "sigmas: expected a number from"},
        {"0.026", "-0.026", "sigmas: expected a number from"},
        {FIRST_PAIR, "\"flip_pairs\": [[0, 17]", "flip_pairs: expected a whole number from 0 to 16, found 17"},
        {FIRST_PAIR, "\"flip_pairs\": [[0, -1]", "found -1"},
        {FIRST_PAIR, "\"flip_pairs\": [[0, 0]", "flip_pairs: expected two different joints"},
        {FIRST_PAIR, "\"flip_pairs\": [[0]", "flip_pairs: expected pairs of joints"},
        {FIRST_PAIR, "\"flip_pairs\": [[1, 3]", "flip_pairs: expected each joint in one pair, found 3 in two"},
        {FIRST_PAIR, "\"flip_pairs\": [[2, 1]", "its flip_pairs are not coco17's"},
        {"\"limbs\": [", "\"limbs\": [[0, 99],", "limbs: expected a whole number from 0 to 16, found 99"},
        {"\"limbs\": [", "\"limbs\": [[3, 3],", "limbs: expected two different joints, found 3 twice"},
        {"\"limbs\": [", "\"limbs\": [[1, 2.0],", "limbs: expected a whole number"},
    };
    for (const auto& [from, to, said] : faults) CHECK_FAILS(manifest(from, to), LEHRNET_BAD_BUNDLE, said);
}

void another_skeleton_is_the_manifests_own() {
    const fs::path bundle = changed("bundle.json", {{"\"coco17\"", "\"dog17\""}, {"\"nose\"", "\"snout\""}});
    lehrnet_session* session = open_fake_session(bundle.string());
    lehrnet_info info{};
    info.struct_size = sizeof info;
    CHECK(lehrnet_describe(session, &info) == LEHRNET_OK);
    CHECK(std::strcmp(info.skeleton, "dog17") == 0 && std::strcmp(info.joint_names[0], "snout") == 0);
    lehrnet_close(session);
}

void an_artefact_is_the_file_that_was_exported() {
    for (const char* name : {"../model.bin", "/etc/passwd", "sub/model.bin", "..", ".", "C:model.bin", "a\\\\b"}) {
        CHECK_FAILS(manifest("model.bin", name), LEHRNET_BAD_BUNDLE, "lies outside the bundle");
    }
    CHECK_FAILS(manifest("model.bin", ""), LEHRNET_BAD_BUNDLE, "file: expected a name");
    CHECK_FAILS(manifest("model.bin", "a\\u0000b"), LEHRNET_BAD_BUNDLE, "file: expected a name");
    CHECK_FAILS(manifest("model.bin", std::string(300, 'x')), LEHRNET_BAD_BUNDLE, "file: expected a name");
    CHECK_FAILS(manifest("model.bin", "other.bin"), LEHRNET_BAD_BUNDLE, "is missing");
    CHECK_FAILS(manifest("\"bytes\": 28", "\"bytes\": 29"), LEHRNET_HASH_DIFFERS, "has 28 bytes, expected 29");
    CHECK_FAILS(manifest("\"bytes\": 28", "\"bytes\": 28.0"), LEHRNET_BAD_BUNDLE, "bytes: expected a whole number");
    CHECK_FAILS(manifest("\"bytes\": 28", "\"bytes\": 200000000000"), LEHRNET_BAD_BUNDLE, "found 200000000000");
    CHECK_FAILS(manifest("101c94", "101C94"), LEHRNET_BAD_BUNDLE, "sha256: expected 64 lower-case hex digits");
    CHECK_FAILS(manifest("\"101c94", "null, \"was\": \"101c94"), LEHRNET_BAD_BUNDLE, "sha256: expected a string");
    CHECK_FAILS(open_with(changed("model.bin", {{"network", "Network"}})), LEHRNET_HASH_DIFFERS, "has SHA-256");
    CHECK_FAILS(open_with(changed("model.bin", {{"network", ""}})), LEHRNET_HASH_DIFFERS, "bytes, expected");
    const std::string batch = "\"batch\": [\n        1,\n        null\n      ]";
    for (const char* ends : {"[0, 1]", "[2, 1]", "[1.0, 2]", "[1]", "[1, 2, 3]", "[1, -1]", "\"1\"", "[1, 1e9]", "[null, 2]"}) {
        CHECK_FAILS(manifest(batch, "\"batch\": " + std::string(ends)), LEHRNET_BAD_BUNDLE, "fp32: batch: expected");
    }
    CHECK_FAILS(manifest(batch, "\"batch\": [33, 64]"), LEHRNET_INVALID_ARGUMENT, "takes at least 33 crops");
    CHECK(manifest(batch, "\"batch\": [1, 2]") == LEHRNET_OK);
}

void odd_files_are_not_read() {
    const fs::path sparse = changed("bundle.json", {});
    fs::resize_file(sparse / "model.bin", std::uintmax_t{200} << 30);  // takes no room on the disk
    CHECK_FAILS(open_with(sparse), LEHRNET_HASH_DIFFERS, "has 214748364800 bytes, expected 28");
    fs::resize_file(sparse / "bundle.json", std::uintmax_t{200} << 30);
    CHECK_FAILS(open_with(sparse), LEHRNET_BAD_BUNDLE, "expected at most 4194304");
    const fs::path pipe = changed("bundle.json", {});
    fs::remove(pipe / "model.bin");
    CHECK(mkfifo((pipe / "model.bin").c_str(), 0600) == 0);
    CHECK_FAILS(open_with(pipe), LEHRNET_BAD_BUNDLE, "it is not a file");
    const fs::path folder = changed("bundle.json", {});
    fs::remove(folder / "model.bin");
    fs::create_directory(folder / "model.bin");
    CHECK_FAILS(open_with(folder), LEHRNET_BAD_BUNDLE, "it is not a file");
    const fs::path link = changed("bundle.json", {});
    fs::rename(link / "model.bin", link / "elsewhere");
    fs::create_symlink("elsewhere", link / "model.bin");  // as caches of downloads have them
    CHECK(open_with(link) == LEHRNET_OK);
}

void an_engine_is_opened_only_where_it_is_trusted() {
    const auto engine = [](const std::string& built_for) {
        const fs::path bundle = changed("bundle.json", {{"model.bin", "model.engine"}, {"\"opset\"", built_for + "\"opset\""}});
        fs::rename(bundle / "model.bin", bundle / "model.engine");
        return bundle;
    };
    const std::string good = "\"built_for\": {\"library\": \"tensorrt\"}, ";
    CHECK_FAILS(open_with(engine(good), "cuda"), LEHRNET_INVALID_ARGUMENT, "an engine can run code: set options.trust_engine");
    CHECK_FAILS(open_with(engine(good), "cuda", 2), LEHRNET_INVALID_ARGUMENT, "set options.trust_engine");
    CHECK_FAILS(open_with(engine(""), "cuda", 1), LEHRNET_BAD_BUNDLE, "without a built_for");
#ifndef LEHRNET_TENSORRT
    CHECK_FAILS(open_with(engine(good), "cuda", 1), LEHRNET_BACKEND_MISSING, "built without TensorRT");
#endif
    for (const char* library : {"\"this\"", "\"os\"", "\"tensorrt.evil\"", "[\"tensorrt\"]", "null", "7"}) {
        const fs::path bundle = engine("\"built_for\": {\"library\": " + std::string(library) + "}, ");
        CHECK_FAILS(open_with(bundle, "cuda", 1), LEHRNET_BAD_BUNDLE, "built_for: library: expected");
    }
    CHECK_FAILS(open_with(engine("\"built_for\": 7, "), "cuda", 1), LEHRNET_BAD_BUNDLE, "built_for: expected an object");
    CHECK_FAILS(open_with(engine("\"built_for\": {}, "), "cuda", 1), LEHRNET_BAD_BUNDLE, "no \"library\"");
}

void errors_are_plain_text() {
    const auto shown = [](const std::string& text, std::size_t size = 1024) {
        std::vector<char> to(size, 'x');
        lehrnet::write_plain(text.c_str(), to.data(), size);
        CHECK(std::memchr(to.data(), 0, size) != nullptr);
        return std::string(to.data());
    };
    CHECK(shown("caf\xc3\xa9 \xf0\x9f\x98\x80") == "caf\xc3\xa9 \xf0\x9f\x98\x80");
    CHECK(shown("\x1b[31m\x7f\r\n") == "\\x1b[31m\\x7f\\x0d\\x0a");
    CHECK(shown("\xc2\x9b" "0m \x9b \xff") == "\\xc2\\x9b0m \\x9b \\xff");  // C1 in UTF-8, alone, and no UTF-8
    CHECK(shown("\xe2\x80\xae" "abc") == "\\xe2\\x80\\xae" "abc");        // writes from right to left
    CHECK(shown("\xc0\xaf\xed\xa0\x80\xf5") == "\\xc0\\xaf\\xed\\xa0\\x80\\xf5");
    CHECK(shown(std::string(500, 'a'), 20) == std::string(16, 'a') + "...");
    CHECK(shown(std::string(15, 'a') + "\xc3\xa9" + std::string(9, 'b'), 20) == std::string(15, 'a') + "...");
    CHECK_FAILS(manifest("lehrnet-bundle-1", "\\u001b]0;owned\\u0007\\u009b31m"), LEHRNET_UNKNOWN_FORMAT, "\\x1b]0;owned\\x07\\xc2\\x9b31m");
    CHECK_FAILS(open_with("no\x1b[31mwhere"), LEHRNET_NOT_FOUND, "no\\x1b[31mwhere");
    CHECK_FAILS(manifest("\"fp32\": {", "\"fp\\u001b[9m\": {"), LEHRNET_NOT_FOUND, "it has fp\\x1b[9m");
    CHECK_FAILS(manifest("lehrnet-bundle-1", std::string(1 << 20, 'y')), LEHRNET_UNKNOWN_FORMAT, "yyy...', this library");
}

std::string message(int field, const std::string& content) {
    std::string text(1, static_cast<char>(field << 3 | 2));
    if (field > 15) text = {static_cast<char>(((field << 3 | 2) & 0x7F) | 0x80), static_cast<char>(field >> 4)};
    for (std::size_t size = content.size(); ; size >>= 7) {
        text += static_cast<char>(size > 127 ? (size & 127) | 128 : size);
        if (size <= 127) return text + content;
    }
}

void a_graph_keeps_its_numbers_to_itself() {
    const auto fault = [](const std::string& model) {
        return lehrnet::wrong_graph(reinterpret_cast<const unsigned char*>(model.data()), model.size());
    };
    const auto names_a_file = [&](const std::string& model) { return fault(model).find("in another file") != std::string::npos; };
    const std::string inside = message(9, "1234"), by_entry = message(13, message(1, "location")), by_place = "\x70\x01";
    for (const std::string& tensor : {by_entry, by_place, inside + by_place, by_place + std::string("\x70\x00", 2)}) {
        const std::string graph = message(5, tensor), attribute = message(5, message(5, tensor));
        CHECK(names_a_file(message(7, graph)));                                           // an initializer
        CHECK(names_a_file(message(7, message(15, message(1, tensor)))));                 // the values of a sparse one
        CHECK(names_a_file(message(7, message(1, attribute))));                           // a constant's attribute
        CHECK(names_a_file(message(7, message(1, message(5, message(10, tensor))))));     // one of several
        CHECK(names_a_file(message(7, message(1, message(5, message(6, graph))))));       // in a branch of an If
        CHECK(names_a_file(message(7, message(1, message(5, message(11, graph))))));
        CHECK(names_a_file(message(7, message(1, message(5, message(22, message(2, tensor)))))));
        CHECK(names_a_file(message(25, message(7, attribute))));                          // in a function
        CHECK(names_a_file(message(25, message(11, message(5, tensor)))));
        CHECK(names_a_file(message(20, message(1, graph))));
        CHECK(names_a_file(message(7, "") + message(7, graph)));                          // protobuf joins the two
    }
    CHECK(fault(message(7, message(5, inside))).empty());
    CHECK(fault(message(8, by_place)).empty());  // as text it is text
    CHECK(fault(message(7, message(1, message(4, "EPContext")))).find("EPContext") != std::string::npos);
    CHECK(fault("no network").find("no ONNX file") != std::string::npos);
    CHECK(fault("\x10\x20\x30\x40ORTM").find("own format") != std::string::npos);
    CHECK(fault(std::string("\xba\x80\x00", 3)).find("no ONNX file") != std::string::npos);  // a tag that is not shortest
    std::string deep = message(5, by_place);
    for (int i = 0; i < 200; ++i) deep = message(1, message(5, message(6, deep)));
    CHECK(fault(message(7, deep)).find("too deeply") != std::string::npos);
}

void json_is_read_as_it_is_written() {
    using lehrnet::json::parse;
    const auto value = parse(R"( {"a": [1, -2.5e3, true, null], "b": "\u00e9\ud83d\ude00\n\"", "c": {}, "d": 0.5} )");
    CHECK(value["a"].array()[1].number() == -2500);
    CHECK(value["a"].array()[0].number() == 1 && value["a"].array()[0].integer(1, 1) == 1);
    CHECK(value["b"].string() == "\xc3\xa9\xf0\x9f\x98\x80\n\"");
    for (const char* broken : {"", "{", "[1,]", "{\"a\" 1}", "tru", "1 2", "\"\\u12\"", "\"\\ud800\"", "\"a", "01x", "+1", "01",
                               "1.", ".5", "-", "1e", "1e400", "NaN", "-Infinity", "{\"a\":1,\"a\":2}", "\"\xff\"", "\"\x01\""}) {
        bool refused = false;
        try {
            parse(broken);
        } catch (const std::runtime_error&) {
            refused = true;
        }
        CHECK(refused);
    }
    bool refused = false;
    try {
        parse(std::string(100000, '['));
    } catch (const std::runtime_error& error) {
        refused = std::string(error.what()).find("deeply") != std::string::npos;
    }
    CHECK(refused);
}

void sha256_is_the_standard_s() {
    const auto hash = [](const std::string& text) {
        return lehrnet::sha256(reinterpret_cast<const unsigned char*>(text.data()), text.size());
    };
    CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace

int main(int, char** arguments) {
    golden = arguments[1];
    std::string pattern = (fs::temp_directory_path() / "lehrnet-XXXXXX").string();
    scratch = mkdtemp(pattern.data());
    a_manifest_says_what_can_be();
    a_skeleton_is_the_one_that_its_name_says();
    another_skeleton_is_the_manifests_own();
    an_artefact_is_the_file_that_was_exported();
    odd_files_are_not_read();
    an_engine_is_opened_only_where_it_is_trusted();
    errors_are_plain_text();
    a_graph_keeps_its_numbers_to_itself();
    json_is_read_as_it_is_written();
    sha256_is_the_standard_s();
    fs::remove_all(scratch);
    return failures;
}
