/* lehrnet: pixels and boxes in, keypoints out. A C99 interface to bundles that `lehrnet export` writes.
 *
 *     lehrnet_options options;
 *     lehrnet_options_init(&options, sizeof options);
 *     lehrnet_session *session = NULL;
 *     if (lehrnet_open("bundle", &options, LEHRNET_ABI_VERSION, &session) != LEHRNET_OK) {
 *         fprintf(stderr, "%s\n", lehrnet_last_error());
 *         return 1;
 *     }
 *     lehrnet_info info = {.struct_size = sizeof info};
 *     lehrnet_describe(session, &info);
 *
 *     lehrnet_image image = {.format = LEHRNET_BGR, .width = 640, .height = 480, .data = pixels, .stride = 640 * 3};
 *     float boxes[2][4] = {{10, 20, 200, 400}, {300, 40, 500, 460}};           // x1, y1, x2, y2
 *     lehrnet_keypoint *found = malloc(2 * info.joints * sizeof *found);
 *     if (lehrnet_run(session, &image, &boxes[0][0], 2, found, 2 * info.joints) == LEHRNET_OK)
 *         printf("%s of the first: %g, %g\n", info.joint_names[0], found[0].x, found[0].y);
 *     free(found);
 *     lehrnet_close(session);
 *
 * Coordinates are px of the image, pixel centres at whole numbers, as in COCO's results and in the Python runtime,
 * whose definition of crop and decoding this library shares.
 *
 * Threads: a session serves one thread at a time. Sessions are independent: for more threads, open more.
 * lehrnet_last_error and lehrnet_status_name may be called from anywhere.
 * Ownership: the caller owns all buffers that it passes, and the library keeps none of them after a call. What it
 * returns by pointer belongs to it, for as long as the call's comment says.
 * Trust: a bundle may come from anywhere, except that TensorRT engines are code: see options.trust_engine.
 * Environment: before ONNX Runtime is loaded, the first lehrnet_open sets ORT_DISABLE_TELEMETRY=1 in the process, unless
 * it is 1 already: ONNX Runtime would send how it is used to its makers. No other thread may call getenv meanwhile.
 * Errors: every call that can fail returns a status and leaves a sentence for lehrnet_last_error: UTF-8, in which
 * control characters stand as \x1b. Outputs of a failed call are undefined; its session stays usable. Nothing is
 * thrown across this interface. */
#ifndef LEHRNET_H
#define LEHRNET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(LEHRNET_SHARED)
#ifdef LEHRNET_BUILDING
#define LEHRNET_API __declspec(dllexport)
#else
#define LEHRNET_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define LEHRNET_API __attribute__((visibility("default")))
#else
#define LEHRNET_API
#endif

#ifdef __cplusplus
#define LEHRNET_NOEXCEPT noexcept
extern "C" {
#else
#define LEHRNET_NOEXCEPT
#endif

/* Grows when a caller built against an older header could be misread. */
#define LEHRNET_ABI_VERSION 1

typedef enum lehrnet_status {
    LEHRNET_OK = 0,
    LEHRNET_INVALID_ARGUMENT = 1,  /* NULL, a broken box, a stride too small, an unknown format */
    LEHRNET_ABI_MISMATCH = 2,      /* built against a header that this library does not serve */
    LEHRNET_NOT_FOUND = 3,         /* no bundle, or no such precision in it */
    LEHRNET_BAD_BUNDLE = 4,        /* its manifest cannot be read, or says what cannot be */
    LEHRNET_UNKNOWN_FORMAT = 5,    /* a bundle of a version that this library does not know */
    LEHRNET_HASH_DIFFERS = 6,      /* a file is not the one that was exported */
    LEHRNET_BACKEND_MISSING = 7,   /* the runtime's library is not on this machine, is too old or lacks the device */
    LEHRNET_BACKEND_FAILED = 8,    /* the runtime refused the model or a run */
    LEHRNET_BUFFER_TOO_SMALL = 9,  /* the caller's buffer; the message says what it takes */
    LEHRNET_BAD_HEATMAP = 10,      /* the network gave NaN or infinity */
    LEHRNET_OUT_OF_MEMORY = 11,
    LEHRNET_INTERNAL = 12          /* a mistake of this library's own */
} lehrnet_status;

typedef enum lehrnet_format {
    LEHRNET_BGR = 0, /* 3 bytes a pixel: OpenCV's order */
    LEHRNET_RGB = 1,
    LEHRNET_BGRA = 2, /* 4 bytes a pixel; the fourth is ignored */
    LEHRNET_RGBA = 3,
    LEHRNET_GRAY = 4, /* 1 byte a pixel */
    LEHRNET_NV12 = 5  /* luma, and below half resolution of U, V pairs: BT.601, limited range; even width and height */
} lehrnet_format;

/* One picture in memory. */
typedef struct lehrnet_image {
    int32_t format;         /* a lehrnet_format */
    int32_t width, height;  /* px, 1 to 65536 */
    const uint8_t *data;    /* first pixel of the first row */
    size_t stride;          /* bytes from row to row; at least a row's own, at most 2^20 */
    const uint8_t *chroma;  /* NV12: the U, V plane; NULL if it follows the luma's last row. Otherwise ignored */
    size_t chroma_stride;   /* bytes; 0 is the luma's stride */
} lehrnet_image;

/* One picture and its people. */
typedef struct lehrnet_item {
    lehrnet_image image;
    const float *boxes; /* count x 4: x1, y1, x2, y2 in px; may reach beyond the image; may be NULL if count is 0 */
    size_t count;
} lehrnet_item;

typedef struct lehrnet_keypoint {
    float x, y;  /* px of the image */
    float score; /* height of the heatmap's peak: about 0 to 1 in a trained network */
} lehrnet_keypoint;

typedef struct lehrnet_options {
    size_t struct_size;          /* of this struct, as the caller was built: set by lehrnet_options_init */
    const char *precision;       /* an artefact of the bundle: "fp32" (default), "fp16", "int8_cpu", ... */
    const char *device;          /* "cpu" (default), "cuda", "cuda:1", "tensorrt", "tensorrt:1"; never replaced */
    const char *runtime_library; /* the runtime's library; NULL: $LEHRNET_ONNXRUNTIME, then the system's */
    int32_t threads;             /* of the CPU, at most 4 times what it has; 0 (default) leaves it to the runtime */
    int32_t max_batch;           /* people in memory at once, 1 to 1024 (default 32); more are run in turns, fewer where
                                    the model's own batch is smaller; a model of one fixed batch takes that */
    int32_t flip;                /* not 0: also run the mirrored crops and average (default 0) */
    int32_t trust_engine;        /* 1: TensorRT engines may be opened, which can run any code (default 0: refused) */
} lehrnet_options;

/* What a session is. Pointers live until lehrnet_close. */
typedef struct lehrnet_info {
    size_t struct_size; /* set by the caller before the call */
    const char *variant, *precision, *backend, *device, *skeleton, *decode, *note;
    int32_t trained; /* 0: random weights, whose keypoints mean nothing */
    int32_t joints;
    const char *const *joint_names; /* joints of them */
    int32_t limb_count;
    const int32_t *limbs; /* limb_count x 2: the joints that a drawing connects */
    int32_t input_height, input_width;     /* of a crop, px */
    int32_t heatmap_height, heatmap_width; /* cells */
    int32_t max_batch;
    float min_score; /* of a joint: below it the network is unsure, and drawings leave the joint out */
} lehrnet_info;

/* A step of a network on lehrnet's own engine. */
typedef struct lehrnet_step {
    const char *name;     /* lives until lehrnet_profile is called again, or lehrnet_close */
    double multiply_adds; /* for one person */
    double milliseconds;
} lehrnet_step;

typedef struct lehrnet_session lehrnet_session;

/* The ABI version of the library that is linked. */
LEHRNET_API uint32_t lehrnet_abi_version(void) LEHRNET_NOEXCEPT;

/* A status by name, such as "HASH_DIFFERS"; static. */
LEHRNET_API const char *lehrnet_status_name(lehrnet_status status) LEHRNET_NOEXCEPT;

/* What went wrong in this thread's last failed call: what came, what was wanted. Valid until its next one. */
LEHRNET_API const char *lehrnet_last_error(void) LEHRNET_NOEXCEPT;

/* Fill options with defaults. struct_size is sizeof(lehrnet_options). */
LEHRNET_API lehrnet_status lehrnet_options_init(lehrnet_options *options, size_t struct_size) LEHRNET_NOEXCEPT;

/* Open a bundle's folder. options may be NULL for defaults; abi_version is LEHRNET_ABI_VERSION. The manifest is read,
 * and the artefact's size and SHA-256 are checked before a byte of it is used. On failure *session is NULL. */
LEHRNET_API lehrnet_status lehrnet_open(const char *bundle, const lehrnet_options *options, uint32_t abi_version,
                                        lehrnet_session **session) LEHRNET_NOEXCEPT;

/* Close a session; NULL is allowed. No other call may be using it. */
LEHRNET_API void lehrnet_close(lehrnet_session *session) LEHRNET_NOEXCEPT;

/* Describe a session. Set info->struct_size before. */
LEHRNET_API lehrnet_status lehrnet_describe(const lehrnet_session *session, lehrnet_info *info) LEHRNET_NOEXCEPT;

/* Keypoints of the people in boxes (count x 4) of one image: count x joints of them, person after person.
 * capacity is the number of keypoints that fit. No people is valid. */
LEHRNET_API lehrnet_status lehrnet_run(lehrnet_session *session, const lehrnet_image *image, const float *boxes,
                                       size_t count, lehrnet_keypoint *keypoints, size_t capacity) LEHRNET_NOEXCEPT;

/* The same for several images; people of all images share the batches. Keypoints in the order of items and boxes. */
LEHRNET_API lehrnet_status lehrnet_run_many(lehrnet_session *session, const lehrnet_item *items, size_t item_count,
                                            lehrnet_keypoint *keypoints, size_t capacity) LEHRNET_NOEXCEPT;

/* The three steps of lehrnet_run one by one, in memory of the host.
 *
 * Crops: count x 3 x input_height x input_width, normalized RGB. capacity is in floats. */
LEHRNET_API lehrnet_status lehrnet_crop(lehrnet_session *session, const lehrnet_image *image, const float *boxes,
                                        size_t count, float *crops, size_t capacity) LEHRNET_NOEXCEPT;

/* The network only: heatmaps (count x joints x heatmap_height x heatmap_width) of crops, in turns of max_batch. */
LEHRNET_API lehrnet_status lehrnet_run_network(lehrnet_session *session, const float *crops, size_t count,
                                               float *heatmaps, size_t capacity) LEHRNET_NOEXCEPT;

/* Where the time goes, for sessions on lehrnet's own engine: the steps of a run of one crop on one thread, each by the
 * least of its times in `rounds` runs.
 *
 * At most capacity steps are written; *count becomes how many there are, *peak the multiply-adds of floats a second that
 * the processor reaches where nothing else has to be done. LEHRNET_INVALID_ARGUMENT for sessions of other backends. */
LEHRNET_API lehrnet_status lehrnet_profile(lehrnet_session *session, int32_t rounds, lehrnet_step *steps, size_t capacity,
                                           size_t *count, double *peak) LEHRNET_NOEXCEPT;

/* Keypoints of heatmaps; boxes are those of the crops. */
LEHRNET_API lehrnet_status lehrnet_decode(const lehrnet_session *session, const float *heatmaps, const float *boxes,
                                          size_t count, lehrnet_keypoint *keypoints, size_t capacity) LEHRNET_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
