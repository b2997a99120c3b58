"""What a pose is, from label to keypoint: skeletons, crops and heatmaps in NumPy and OpenCV, never torch.

Frames, the same everywhere in this project; networks trained by other programs bring one of their own (`pose.frame`):

- **image px**: points are pixel indices, so (0, 0) is the *centre* of the top-left pixel. COCO's keypoints and
  OpenCV's drawing use it.
- **boxes** are xyxy *edges*: (0, 0, width, height) covers an image whole, and edge e lies at index e - 0.5.
- **crop px**: pixel indices of the network's input.
- **cells**: indices of a heatmap. A cell covers 4 x 4 crop px, and its centre is theirs: crop = 4 cell + 1.5.
  Mirrored crops give mirrored heatmaps, without a shift (docs/decisions/0002).
"""
