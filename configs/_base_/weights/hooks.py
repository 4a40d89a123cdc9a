# What default_runtime.py has for weights of a backbone, for configs that do not inherit from it.
custom_imports = dict(imports=['mmdet_mobilenext'], allow_failed_imports=False)

default_hooks = dict(
    initial_weights=dict(type='InitialWeightsHook'),
    strict_load=dict(type='StrictLoadHook'),
)
