# Objects of VOC2007 train (for search and training) and val (for the test), cut
# out at 32x32 by `tools/search.py crops`. No image of VOC2007 test is looked at.
_base_ = './generated_crops32.py'

data_root = '{{$CROPS_ROOT:data/crops_voc07}}'
classes = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
    'tvmonitor',
)  # fmt: skip
num_classes = 20
metainfo = dict(classes=classes)
crops = dict(
    voc_root='{{$VOC_DATA_ROOT:data/VOCdevkit}}', test_list='VOC2007/ImageSets/Main/val.txt'
)

train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
