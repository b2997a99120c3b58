/* pose_image BUNDLE PICTURE.ppm [x1 y1 x2 y2 ...]: the people in boxes, or one who fills the picture, as JSON.
 * Of each joint x, y, the score, and whether the network is sure of it (info.min_score).
 *
 * A binary PPM (P6) is what `convert photo.jpg photo.ppm` or `ffmpeg -i photo.jpg photo.ppm` makes.
 */
#include <lehrnet.h>

#include <stdio.h>
#include <stdlib.h>

static void *need(void *memory) {
    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static void check(lehrnet_status status) {
    if (status == LEHRNET_OK) return;
    fprintf(stderr, "pose_image: %s: %s\n", lehrnet_status_name(status), lehrnet_last_error());
    exit(1);
}

static uint8_t *read_ppm(const char *path, lehrnet_image *image) {
    FILE *file = fopen(path, "rb");
    int width = 0, height = 0, levels = 0;
    if (!file || fscanf(file, "P6 %d %d %d", &width, &height, &levels) != 3 || levels != 255 || width < 1 || height < 1 ||
        width > 65536 || height > 65536) {
        fprintf(stderr, "pose_image: %s is no binary PPM of 255 levels\n", path);
        exit(2);
    }
    fgetc(file);
    if ((size_t)width * (size_t)height > 1 << 27) { /* a header of a few bytes is no reason to take gigabytes */
        fprintf(stderr, "pose_image: %s has %dx%d px, expected at most 2^27\n", path, width, height);
        exit(2);
    }
    const size_t size = (size_t)width * (size_t)height * 3;
    uint8_t *pixels = need(malloc(size));
    if (fread(pixels, 1, size, file) != size) {
        fprintf(stderr, "pose_image: %s ends too early\n", path);
        exit(2);
    }
    fclose(file);
    const lehrnet_image found = {LEHRNET_RGB, width, height, pixels, (size_t)width * 3, NULL, 0};
    *image = found;
    return pixels;
}

int main(int count, char **arguments) {
    if (count < 3 || (count - 3) % 4 != 0) {
        fprintf(stderr, "usage: %s BUNDLE PICTURE.ppm [x1 y1 x2 y2 ...]\n", arguments[0]);
        return 2;
    }
    lehrnet_session *session = NULL;
    check(lehrnet_open(arguments[1], NULL, LEHRNET_ABI_VERSION, &session));
    lehrnet_info info = {.struct_size = sizeof info};
    check(lehrnet_describe(session, &info));

    lehrnet_image image;
    uint8_t *pixels = read_ppm(arguments[2], &image);
    const size_t people = count > 3 ? (size_t)(count - 3) / 4 : 1;
    float *boxes = need(malloc(people * 4 * sizeof *boxes));
    for (int i = 3; i < count; ++i) boxes[i - 3] = strtof(arguments[i], NULL);
    if (count == 3) {
        boxes[0] = boxes[1] = 0;
        boxes[2] = (float)image.width;
        boxes[3] = (float)image.height;
    }

    const size_t joints = (size_t)info.joints;
    lehrnet_keypoint *found = need(malloc(people * joints * sizeof *found));
    check(lehrnet_run(session, &image, boxes, people, found, people * joints));
    printf("[");
    for (size_t person = 0; person < people; ++person) {
        printf("%s{", person ? ",\n " : "");
        for (size_t joint = 0; joint < joints; ++joint) {
            const lehrnet_keypoint *point = &found[person * joints + joint];
            printf("%s\"%s\": [%.3f, %.3f, %.4f, %s]", joint ? ", " : "", info.joint_names[joint], point->x, point->y,
                   point->score, point->score >= info.min_score ? "true" : "false");
        }
        printf("}");
    }
    printf("]\n");

    free(found);
    free(boxes);
    free(pixels);
    lehrnet_close(session);
    return 0;
}
