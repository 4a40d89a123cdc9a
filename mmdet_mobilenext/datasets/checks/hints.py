# SPDX-License-Identifier: Apache-2.0
"""What to do, for each kind of problem that a data check finds."""

__all__ = ['COCO_HINTS', 'VOC_HINTS']

# For a VOC-format data set.
VOC_HINTS = {
    'no_data_root': 'get the data set (the README says how) or point `data_root` at the folder '
    'that holds it: set the environment variable VOC_DATA_ROOT, which the VOC configs read, pass '
    '`--cfg-options data_root=...`, or write it in the config',
    'no_folder': 'VOC layout is Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/*.txt in '
    "the folder that `data_prefix=dict(sub_data_root=...)` names (with '/' after the year)",
    'no_split_file': 'set `ann_file` to one of the .txt files that are there, or write one: an '
    'image id per line, without extension',
    'bad_split_file': 'write an image id per line, UTF-8, without extension',
    'bad_id': 'a line holds one file name without folder, extension or spaces around it; take '
    'blank lines out',
    'duplicate_id': 'keep one of the lines: a repeated test image is counted twice',
    'missing_image': 'copy the file or take its id out of the split file; images are read as '
    '<id>.jpg, so rename other extensions (any content that OpenCV reads is fine)',
    'missing_xml': 'copy the file or take its id out of the split file; an image without objects '
    'needs an XML with <size> and no <object>',
    'unreadable': 'see to the rights and the health of the file system',
    'bad_xml': 'mend or copy the file again',
    'xml_doctype': 'take the DOCTYPE out: a VOC annotation has none, and entities in it are '
    'never expanded',
    'bad_size': '<size> needs whole <width> and <height> in pixels, the size of the image',
    'bad_object': 'each <object> needs <name>, <bndbox> and, if present, <difficult> of 0 or 1',
    'bad_box': '<bndbox> needs finite numbers in <xmin>, <ymin>, <xmax> and <ymax>',
    'box_outside': 'VOC boxes count pixels from 1: 1 <= xmin <= xmax <= width, same for y. Are '
    'these from 0? Then add 1 to all four',
    'box_no_area': 'xmin > xmax or ymin > ymax: swap the two or take the object out',
    'unknown_class': 'correct the name, add it to `metainfo=dict(classes=...)`, or leave such '
    "objects out with `data_check = dict(unknown_classes='ignore')` in the config "
    '(--unknown-classes ignore in tools/check_voc.py)',
    'no_objects': 'no object is left: are the names in `metainfo=dict(classes=...)` those of '
    'the XML files?',
    'empty_file': 'the copy was cut off: copy the file again',
    'image_undecodable': 'the file is no image that OpenCV reads: copy it again',
    'image_truncated': 'the file ends early or is damaged (some OpenCV versions fill the rest with '
    'grey): copy it again',
    'image_size': 'XML and image do not belong together, or the image was resized without its '
    'boxes',
}

_COCO_PLACES = (
    'COCO layout is annotations/instances_train2017.json, annotations/instances_val2017.json, '
    'train2017/*.jpg and val2017/*.jpg in the folder that `data_root` names; `ann_file` and '
    '`data_prefix=dict(img=...)` are relative to it'
)
_COCO_MOVE = (
    'point `data_root` at the folder that holds the data set: set the environment variable '
    'COCO_DATA_ROOT, which the COCO configs read, pass `--cfg-options data_root=...`, or write it '
    'in the config'
)

# For a COCO-format data set.
COCO_HINTS = {
    'no_data_root': f'get the data set or {_COCO_MOVE}. {_COCO_PLACES}',
    'no_ann_file': f'set `ann_file` to a json that is there, or {_COCO_MOVE}. {_COCO_PLACES}',
    'no_folder': f'set `data_prefix=dict(img=...)` to a folder that is there, or {_COCO_MOVE}. '
    f'{_COCO_PLACES}',
    'unreadable': VOC_HINTS['unreadable'],
    'bad_json': 'a COCO json for detection is one object in UTF-8 with the lists `images`, '
    '`annotations` and `categories`: mend it or copy it again',
    'bad_category': 'each category needs an `id` and a `name` of its own',
    'class_order': 'MMDetection numbers classes in the order in which the json lists its '
    'categories, not in that of `metainfo.classes`: write `metainfo=dict(classes=...)` in the '
    'order of the json, and leave out names that it has not',
    'no_images': 'no image is listed: is it the right file?',
    'bad_image_entry': 'each image needs an `id`, a `file_name` that stays in the folder of '
    '`data_prefix.img`, and `width` and `height` in whole pixels',
    'duplicate_id': 'give each image an id and an entry of its own: of two with the same id '
    'MMDetection reads the last one alone, and an image listed twice counts twice',
    'missing_image': '`file_name` is relative to the folder of `data_prefix=dict(img=...)`: '
    'correct that, copy the files, or take the images out of the json',
    'bad_annotation': 'each annotation needs an `id` of its own, the `image_id` of an image, the '
    '`category_id` of a category, `bbox` of four finite numbers (left, top, width, '
    'height in pixels, 0-based) and `area`, a number',
    'unknown_class': VOC_HINTS['unknown_class'],
    'no_objects': 'no object is left: are the names in `metainfo=dict(classes=...)` those of the '
    'categories, and the boxes left, top, width and height in pixels?',
    'image_undecodable': VOC_HINTS['image_undecodable'],
    'image_truncated': VOC_HINTS['image_truncated'],
    'image_size': 'json and image do not belong together, or the image was resized without its '
    'boxes',
}
