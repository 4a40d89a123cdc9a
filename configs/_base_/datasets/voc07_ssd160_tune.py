# VOC2007 train for training, VOC2007 val for evaluation, 160x160: to choose
# between recipes without a look at the test images.
_base_ = './voc07_ssd160.py'

train_dataloader = dict(dataset=dict(ann_file='VOC2007/ImageSets/Main/train.txt'))
val_dataloader = dict(dataset=dict(ann_file='VOC2007/ImageSets/Main/val.txt'))
test_dataloader = val_dataloader
