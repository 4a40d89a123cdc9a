# A set of your own in the layout of VOC, as tools/import_dataset.py writes it,
# 160x160. A config that inherits names data_root and classes: docs/own_data.md.
_base_ = './voc07_ssd160.py'

# not VOCDataset, which would print VOC's class names for these classes
dataset_type = 'XMLDataset'
data_root = 'data/own'
classes = ('object',)
num_classes = 1

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='ImageSets/Main/val.txt',
        data_prefix=dict(sub_data_root=''),
    )
)
test_dataloader = val_dataloader
