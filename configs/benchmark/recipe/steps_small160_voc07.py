# The baseline of the paired runs behind the recipe: MobileNeXt, width 0.5, 160x160,
# from scratch on VOC2007 train, learning rate in steps. See docs/results/recipe_small160.md.
_base_ = [
    '../../_base_/models/ssdlite_mobilenext_small160.py',
    '../../_base_/datasets/voc07_ssd160_tune.py',
    '../../_base_/schedules/scratch_1xb8_16e_steps.py',
]
