# RetinaNet for 160x160 and training from scratch on a CPU: a mobile-size FPN and head on the
# strides 8 to 64. Not a published network. The backbone is the affair of the files beside it.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

model = dict(
    # The images of the VOC configs here; none is padded, since all have one size.
    data_preprocessor=dict(mean=[123, 117, 104], pad_size_divisor=1),
    neck=dict(out_channels=64, start_level=0, num_outs=4, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        num_classes=20,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        # A tower without norms hardly learns in a short run from scratch.
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(
            # 24 and 34 pixels at stride 8, twice that at each further level
            octave_base_scale=3,
            scales_per_octave=2,
            strides=[8, 16, 32, 64],
        ),
    ),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
