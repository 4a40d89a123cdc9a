# SPDX-License-Identifier: Apache-2.0
"""Import a data set: COCO json, YOLO text or VOC to VOC (which the configs read), COCO or YOLO.

What is dropped or changed is counted, named and given a reason; the books are checked in the end:
images and boxes that were read are those written and those reported.

**Libraries.** Boxes go from one format's numbers to another's through :mod:`globox`
(``BoundingBox``: corners, left top width height, centre and fractions, YOLO lines). Its readers and
writers of whole sets are not used: they have no ``difficult`` and write ``iscrowd`` 0, write VOC
0-based with fractions, know one file name extension for a set, take no split, and end at the first
bad box, unknown id or repeated name without saying which. ``pycocotools`` replaces repeated ids in
silence. Both formats are JSON and XML and are read as such; tests read the results with
``pycocotools`` and MMDetection.

**Boxes.** Inside, a box is ``(left, top, right, bottom)`` in pixels, 0-based, where the left edge
of the first pixel is 0 and the right edge of the last the width. VOC counts pixels from 1 and
includes both ends, so ``xmin = left + 1`` and ``xmax = right``. From COCO or YOLO each edge is
rounded to the nearest pixel border: within 0.5 px. MMDetection subtracts 1 from all four numbers,
which leaves no area to a box of one pixel, and the logarithm of its width is no number to train
with: a box that rounds to less than two pixels is written two pixels wide around its centre (each
edge within 2 px) and reported. VOC to COCO and back is exact, but for such boxes.

**Flags.** A COCO crowd (``iscrowd`` or ``ignore``) is VOC's ``difficult`` and back: MMDetection
leaves both out of training and counts neither for nor against a detector. YOLO has no such flag, so
those boxes are left out, as Ultralytics' own converters do, and reported.

**What does not survive.** Ids of images, annotations and categories are given anew, and file names
lose their folder and get the extension ``.jpg`` in VOC. Segmentation, keypoints, pose and parts are
not carried (counted in the report).
"""

from .records import ImportDataError
from .report import ImportReport
from .run import import_dataset

__all__ = ['ImportDataError', 'ImportReport', 'import_dataset']
