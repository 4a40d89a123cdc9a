# MobileNeXt SSDLite, 320x320, COCO, eight GPUs with batch 32 each and SyncBN.
_base_ = [
    './_base_/models/ssdlite_mobilenext_coco.py',
    './_base_/datasets/coco_ssd320.py',
    './_base_/schedules/ssdlite_coco_8xb32_200k.py',
    './_base_/options/sync_bn.py',
]

# the authors' processes each divide by their own positives
model = dict(bbox_head=dict(sync_num_pos=False))
