# ssdlite_mobilenext_voc07.py with its training step compiled by torch.compile.
_base_ = '../ssdlite_mobilenext_voc07.py'

compile = True
