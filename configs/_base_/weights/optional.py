# Files of an init_cfg that may be missing: InitialWeightsHook then says loudly that the run starts
# from scratch. Any other file that is missing is an error.
optional_weights = [
    '{{$WEIGHTS_ROOT:weights}}/mobilenext_1.0_in1k.pth',
    '{{$WEIGHTS_ROOT:weights}}/mobilenetv2_1.0_in1k.pth',
]
