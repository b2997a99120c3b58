"""The known families of detectors, as values. The rows are those of the exporters named; read in November 2026."""

from dataclasses import replace

from .description import Description

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB from 0 to 1."""
MEAN_BGR, STD_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""The same, of BGR from 0 to 255."""
STRIDES, FOUR_STRIDES = (8, 16, 32), (8, 16, 32, 64)

YOLOX = Description(
    "yolox",
    "grid",
    colour="bgr",
    resize="letterbox_topleft",
    columns="box,objectness,scores",
    strides=STRIDES,
    nms_iou=0.45,
)
"""tools/export_onnx.py of YOLOX: offsets and logarithms by cell."""
RTMDET = Description(
    "mmdet",
    "table",
    colour="bgr",
    mean=MEAN_BGR,
    std=STD_BGR,
    resize="letterbox_topleft",
    columns="box,score,class",
    box_outputs=("dets",),
    label_output="labels",
)
"""mmdeploy's end2end.onnx of RTMDet, NMS inside."""
DETR = Description(
    "detr",
    "table",
    scale=1 / 255,
    unit="frame",
    box_outputs=("boxes",),
    score_outputs=("scores",),
    label_output="labels",
)
"""tools/export_onnx.py of RT-DETR, D-FINE and DEIM."""
ULTRALYTICS = Description(
    "ultralytics",
    "table",
    scale=1 / 255,
    resize="letterbox_centre",
    boxes="cxcywh",
    channels_first=True,
    nms_iou=0.6,
)
"""Ultralytics v8 to YOLO26 without NMS: rows of 4 + classes; a pose model's joints come after its one class."""
NANODET = Description(
    "nanodet",
    "distances",
    colour="bgr",
    mean=MEAN_BGR,
    std=STD_BGR,
    strides=FOUR_STRIDES,
    prior="corner",
    nms_iou=0.6,
)
"""tools/export_onnx.py of NanoDet-Plus: one output (rows, classes + 4 bins)."""
PICODET = Description(
    "picodet",
    "table",
    scale=1 / 255,
    mean=MEAN,
    std=STD,
    unit="frame",
    columns="class,score,box",
)
"""PaddleDetection's export with post-processing."""

KINDS: dict[str, Description] = {
    "yolox": YOLOX,
    "yolox-decoded": replace(YOLOX, kind="yolox-decoded", decode="table", boxes="cxcywh"),
    "yolox-rgb": replace(YOLOX, kind="yolox-rgb", colour="rgb"),  # opencv_zoo, 2022nov
    "mmdet": RTMDET,
    "mmdet-yolox": replace(RTMDET, kind="mmdet-yolox", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "mmdet-raw": replace(
        RTMDET,
        kind="mmdet-raw",
        columns="box,scores",
        box_outputs=("boxes",),
        score_outputs=("scores",),
        label_output=None,
        nms_iou=0.65,  # RTMDet's own
    ),
    "detr": DETR,
    "hf-detr": Description(
        "hf-detr",
        "table",
        scale=1 / 255,
        boxes="cxcywh",
        unit="share",
        scores="logit",
        box_outputs=("pred_boxes",),
        score_outputs=("logits",),
    ),
    "rfdetr": Description(
        "rfdetr",
        "table",
        scale=1 / 255,
        mean=MEAN,
        std=STD,
        boxes="cxcywh",
        unit="share",
        scores="logit",
        box_outputs=("dets",),
        score_outputs=("labels",),
    ),
    "ultralytics": ULTRALYTICS,
    "ultralytics-nms": replace(
        ULTRALYTICS,
        kind="ultralytics-nms",
        boxes="xyxy",
        channels_first=False,
        columns="box,score,class",
        nms_iou=None,
    ),
    "nanodet": NANODET,
    "nanodet-maps": replace(NANODET, kind="nanodet-maps", colour="rgb", prior="pixel"),  # opencv_zoo, 2022nov
    "nanodet-g": replace(
        NANODET, kind="nanodet-g", strides=STRIDES, bins=11, prior="middle", resize="letterbox_centre", pad=0.0
    ),
    "picodet": PICODET,
    "picodet-raw": replace(
        NANODET, kind="picodet-raw", colour="rgb", scale=1 / 255, mean=MEAN, std=STD, prior="middle"
    ),
    "mediapipe": Description(
        "mediapipe",
        "mediapipe",
        scale=1 / 127.5,
        mean=(1.0, 1.0, 1.0),
        resize="letterbox_centre",
        pad=0.0,
        unit="share",
        scores="logit",
        person_class=-1,
        nms_iou=0.3,
    ),
    "boxes": Description("boxes", "table", columns="box,score,class", scale=1 / 255, resize="letterbox_centre"),
}
"""By the name that --detector-kind takes; `boxes` is a plain table x1, y1, x2, y2, score, class in px of the input."""
