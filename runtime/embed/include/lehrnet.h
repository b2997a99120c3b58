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
 * Threads: a session serves one thread at a time, and so do a tracker and its session together, since a tracker runs its
 * session. Trackers of one session may take turns; sessions are independent: for more threads, open more.
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
    const char *precision;       /* an artefact of the bundle: "fp32", "native_int8", "int8_cpu", ...; "auto" (default): on a
                                    CPU "native_fp32", our own engine's, where the bundle has it, else "fp32" */
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

/* How people are followed. The size of a person is the square root of the area of the box around the joints; every time is
 * in seconds, every length a share of the person's size, so that dropped frames and distance change nothing. */
typedef struct lehrnet_tracker_options {
    size_t struct_size;    /* of this struct, as the caller was built: set by lehrnet_tracker_options_init */
    int32_t streams;       /* whose frames share the network's batches, 1 to 64 (default 1) */
    int32_t max_people;    /* largest number of people in a frame, 1 to 256 (default 16) */
    double death_s;        /* a track that was not seen for this long ends (default 2) */
    double birth_s;        /* a track that begins after the first frame is reported once it has been detected for this
                              long (default 0.15) */
    double hidden_birth_s; /* the same where somebody who is known stands in most of the box: detectors see a third person
                              in an embrace (default 1) */
    double hidden_share;   /* share of a box within that of one known person from which on it counts as such (default 0.7) */
    double min_score;      /* lowest mean score of the joints of a pose that counts as one (default 0.15) */
    double keep_score;     /* a pose that no detection supports counts if its score is at least this share of the track's
                              mean score (default 0.7) */
    double support_s;      /* a track that detections did not support for this long counts as not seen (default 0.7) */
    double match_iou;      /* lowest IoU of boxes that match (default 0.3) */
    double match_oks;      /* lowest similarity of keypoints that match (default 0.2) */
    double duplicate_iou;  /* a box that overlaps a better one by more than this is not given to the network (default 0.7) */
    double duplicate_oks;  /* of two poses that are more similar than this one is dropped (default 0.85) */
    double match_distance; /* farthest that a person who was lost may be found again, in standard deviations of the
                              predicted position (default 3) */
    double match_noise;    /* standard deviation of the position at which a person who was lost is found (default 0.15) */
    double position_noise; /* standard deviation of a measured position (default 0.03) */
    double agility;        /* how much a person's speed changes in one second, in sizes a second (default 1) */
    double size_noise;     /* standard deviation of the logarithm of a person's size, when found again (default 0.25) */
    double slowing_s;      /* time constant with which the speed of a person who is not seen decays (default 1) */
    int32_t smooth;        /* not 0: joints are smoothed, too, by One-Euro (Casiez et al., CHI 2012) (default 0) */
    double min_cutoff_hz;  /* of a joint at rest: lower is smoother (default 1.5) */
    double beta;           /* Hz of cutoff added for each person's size a second that the joint moves: higher lags less
                              (default 4) */
    double speed_cutoff_hz; /* of the joint's own speed (default 2) */
} lehrnet_tracker_options;

/* One frame of a stream. */
typedef struct lehrnet_frame {
    int32_t stream;      /* 0 to options.streams - 1 */
    int32_t detected;    /* not 0: a detector looked, and count boxes are what it found, possibly none. 0: none looked, boxes
                            are ignored; people are followed by their joints, and where nobody is, one is searched for */
    lehrnet_image image;
    double time_s;       /* on a clock of the stream that does not run backwards */
    const float *boxes;  /* count x 4: x1, y1, x2, y2 in px, within 1e7 of the image's corner */
    const float *scores; /* count, 0 to 1; NULL: alike */
    size_t count;        /* at most 1024 */
} lehrnet_frame;

/* Who was found in a frame. Pointers live until the tracker's next update, or its end. */
typedef struct lehrnet_person {
    int64_t id;     /* 1, 2, ... in its stream; never given to anybody else until lehrnet_tracker_reset */
    int32_t stream;
    float score;    /* mean of the joints' */
    float box[4];   /* x1, y1, x2, y2 in px of the box in which the joints were found */
    const lehrnet_keypoint *keypoints; /* as the network found them, one for each joint */
    const lehrnet_keypoint *smoothed;  /* with the scores of the former; NULL where options.smooth is 0 */
    const uint8_t *visible;            /* of each joint: 1 where its score is at least info.min_score, else 0 */
} lehrnet_person;

typedef struct lehrnet_session lehrnet_session;
typedef struct lehrnet_tracker lehrnet_tracker;

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

/* People with identities in streams of frames:
 *
 *     lehrnet_tracker_options options;
 *     lehrnet_tracker_options_init(&options, sizeof options);
 *     lehrnet_tracker *tracker = NULL;
 *     lehrnet_tracker_create(session, &options, &tracker);
 *     lehrnet_frame frame = {.image = image, .time_s = 0.033, .detected = 1, .boxes = &boxes[0][0], .count = 2};
 *     const lehrnet_person *people = NULL;
 *     size_t count = 0;
 *     if (lehrnet_tracker_update(tracker, &frame, 1, &people, &count) == LEHRNET_OK)
 *         for (size_t i = 0; i < count; ++i) printf("%d at %g\n", (int)people[i].id, people[i].keypoints[0].x);
 *     lehrnet_tracker_close(tracker);
 *
 * The same frames give the same people as `lehrnet.runtime.track` in Python. The time is the frames' own, so that frames may
 * be dropped.
 *
 * Fill options with defaults. struct_size is sizeof(lehrnet_tracker_options). */
LEHRNET_API lehrnet_status lehrnet_tracker_options_init(lehrnet_tracker_options *options, size_t struct_size) LEHRNET_NOEXCEPT;

/* Make a tracker over an open session, which must stay open until the tracker is closed. options may be NULL for defaults.
 * All of its memory is taken here; updates take none. On failure *tracker is NULL. */
LEHRNET_API lehrnet_status lehrnet_tracker_create(lehrnet_session *session, const lehrnet_tracker_options *options,
                                                  lehrnet_tracker **tracker) LEHRNET_NOEXCEPT;

/* Follow people into the next frame of one stream or of several, at most one of each: the people of all frames share the
 * network's batches. *people becomes the *count people who were found, frame after frame, by rising id.
 * LEHRNET_INVALID_ARGUMENT leaves the tracks as they were. */
LEHRNET_API lehrnet_status lehrnet_tracker_update(lehrnet_tracker *tracker, const lehrnet_frame *frames, size_t frame_count,
                                                  const lehrnet_person **people, size_t *count) LEHRNET_NOEXCEPT;

/* Forget the people of a stream, as at a cut or a new file; its identities start at 1 again, its time anywhere. */
LEHRNET_API lehrnet_status lehrnet_tracker_reset(lehrnet_tracker *tracker, int32_t stream) LEHRNET_NOEXCEPT;

/* Close a tracker, before its session; NULL is allowed. No other call may be using it. */
LEHRNET_API void lehrnet_tracker_close(lehrnet_tracker *tracker) LEHRNET_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
