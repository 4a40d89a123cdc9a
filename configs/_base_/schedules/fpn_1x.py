# MMDetection's 1x schedule with its learning rate for single-stage detectors: 12 epochs in batches
# of 16, here four GPUs with four images each, where batch norm has more to go by than with two.
# Another number of images in a step: --auto-scale-lr.
_base_ = ['mmdet::_base_/schedules/schedule_1x.py', '../default_runtime.py']

optim_wrapper = dict(optimizer=dict(lr=0.01))

# the first metric: mAP of VOC or COCO
default_hooks = dict(checkpoint=dict(save_best='auto'))
# images differ in size
env_cfg = dict(cudnn_benchmark=False)
